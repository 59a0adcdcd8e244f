# The paper in miniature, a rule a step (docs/reproduction.md). A step that is done has left a mark in runs/miniature/done and is not
# taken again; one that was stopped goes on where it was. `make reproduce --dry-run` lists the steps that are left.

MINI := runs/miniature
DONE := $(MINI)/done
STEP = @$(BIN)/python -m benchmarks.step $@ $(BIN)/
EVATOK = $(STEP)evatok
BENCHMARK = $(STEP)python -m benchmarks.

# Of a stage: the config of the tiny tokenizer, then what the miniature has of its own.
configs = --config configs/tiny/$(1).yaml --config configs/miniature/$(2).yaml
resume = $(if $(wildcard $(MINI)/$(1)/checkpoints/*),--resume)
PROXY := $(call configs,proxy,proxy)
FINAL := $(PROXY) --config configs/miniature/final.yaml
LENGTHS_final := --w_q 1.2
LENGTHS_uniform := --uniform 32
EPOCHS := 5
BATCH := 4096

step = $(DONE)/$(1).json
steps = $(foreach each,$(1),$(call step,$(each)))
KINDS := final uniform

.PHONY: reproduce
reproduce: $(call steps,curve router-report tokenizers) $(call steps,$(foreach kind,$(KINDS),reconstruction-$(kind) generation-$(kind)))
	$(BIN)/python -m benchmarks.miniature --runs $(MINI) --out docs/results/miniature.json \
		--figure docs/results/miniature-curve.png --page docs/reproduction.md

$(call step,film): | setup
	$(EVATOK) data big-buck-bunny data/bbb --height 180

$(call step,photographs): | setup
	$(EVATOK) data photographs data/photographs

$(call step,proxy): $(call steps,film photographs)
	$(EVATOK) train proxy $(PROXY) $(call resume,proxy)

$(call step,search): $(call step,proxy)
	$(EVATOK) search $(call configs,search,search)

$(call step,search-proxy): $(call step,proxy)
	$(EVATOK) search $(call configs,search-validation,search-validation)

$(call step,router): $(call steps,search search-proxy)
	$(EVATOK) train router $(call configs,router,router) $(call resume,router)

$(call step,curve): $(call step,router)
	$(EVATOK) curve $(call configs,curve,curve)

$(call step,router-report): $(call step,router)
	$(EVATOK) router-report $(call configs,curve,curve) --tokenizer $(MINI)/proxy/final

$(call step,final): $(call step,router)
	$(EVATOK) train final $(FINAL) $(call resume,final)

$(call step,uniform): $(call step,router)
	$(EVATOK) train final $(FINAL) --config configs/miniature/uniform.yaml $(call resume,uniform)

$(call step,search-final): $(call step,final)
	$(EVATOK) search $(call configs,search-validation,search-validation) --tokenizer $(MINI)/final/final --folder $(MINI)/search-final

$(call step,tokenizers): $(call steps,search-final uniform)
	$(BENCHMARK)final_tokenizers --train $(MINI)/search --router $(MINI)/router/final --held-out proxy=$(MINI)/search-proxy \
		final=$(MINI)/search-final --twins uniform=$(MINI)/uniform/final --out $(MINI)/tokenizers.json

$(call step,reconstruction-final): $(call step,final)
	$(EVATOK) evaluate reconstruction $(call configs,evaluation,reconstruction) --tokenizer $(MINI)/final/final \
		--folder $(MINI)/reconstruction-final --assignments '[[8,8,8,8]]' --w_q '[1.2]'

$(call step,reconstruction-uniform): $(call step,uniform)
	$(EVATOK) evaluate reconstruction $(call configs,evaluation,reconstruction) --tokenizer $(MINI)/uniform/final \
		--folder $(MINI)/reconstruction-uniform --assignments '[[32,32,32,32]]' --fvd true

# A generator of each kind: its tokens, its training, what it makes.
$(call steps,$(KINDS:%=tokens-%)): $(call step,tokens-%): $(call step,%)
	$(EVATOK) tokenize $(call configs,tokenize-games,tokenize) --tokenizer $(MINI)/$*/final $(LENGTHS_$*) -o $(MINI)/tokens-$*

$(call steps,$(KINDS:%=held-out-tokens-%)): $(call step,held-out-tokens-%): $(call step,%)
	$(EVATOK) tokenize $(call configs,tokenize-games,tokenize-validation) --tokenizer $(MINI)/$*/final $(LENGTHS_$*) \
		-o $(MINI)/held-out-tokens-$*

$(call steps,$(KINDS:%=generator-%)): $(call step,generator-%): $(call step,tokens-%) $(call step,held-out-tokens-%)
	$(EVATOK) train generator $(call configs,generator,generator) $(call resume,generator-$*) --folder $(MINI)/generator-$* \
		--data.train '["$(MINI)/tokens-$*"]' --data.validation '["$(MINI)/held-out-tokens-$*"]' --tokenizer $(MINI)/$*/final \
		--batch $(BATCH) --loop.steps $$($(BIN)/python -m benchmarks.epochs $(MINI)/tokens-$* --epochs $(EPOCHS) --batch $(BATCH))

$(call steps,$(KINDS:%=generation-%)): $(call step,generation-%): $(call step,generator-%)
	$(EVATOK) evaluate generation $(call configs,evaluate-games-generation,generation) --generator $(MINI)/generator-$*/final \
		--folder $(MINI)/generation-$* --lengths_of $(MINI)/tokens-$*
