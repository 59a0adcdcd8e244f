"""Sampling of whole sequences, many at once: finished ones leave, waiting ones enter, and none depends on others."""

from collections import deque
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from evatok.generator.drawing import Drawing
from evatok.generator.grammar import Due, SequenceGrammar

# Products of fewer rows round otherwise on some CPUs, and a sample is to be the same alone and beside others.
LEAST_ROWS = 4


class Reader(Protocol):
    """What reads tokens and says what may follow: see `CachedLlama`."""

    def read(self, tokens: Tensor, places: Tensor, first: int, width: int) -> Tensor:
        """Logits after the last of some tokens of some rows."""

    def move(self, source: int, target: int, count: int) -> None:
        """Copies rows over others."""


class Request(NamedTuple):
    """A sequence that is to be written.

    Args:
        number: what its chances are drawn by, together with the seed; requests that run together differ in it.
        label: its class; None for none.
        lengths: codes of each block, 0 where the model chooses.
        given: blocks that are given; all others are written.
        ids: the codes of those.
    """

    number: int
    label: str | int | None
    lengths: tuple[int, ...]
    given: int = 0
    ids: Tensor = torch.empty(0, dtype=torch.int64)

    def prefix(self, grammar: SequenceGrammar) -> Tensor:
        """Its first tokens."""
        return grammar.prefix(self.label, self.lengths[: self.given], self.ids)

    def check(self, grammar: SequenceGrammar, clip_blocks: int, most_tokens: int | None) -> None:
        """ValueError where it asks for what cannot be."""
        vocabulary = grammar.vocabulary
        if not len(self.lengths) == grammar.blocks > self.given:
            raise ValueError(f"{grammar.blocks} lengths are needed, and a block to write, got {self.lengths}")
        for length in self.lengths:
            if length:
                vocabulary.length(length)
        self.prefix(grammar)
        for clip in range(0, grammar.blocks, clip_blocks):
            lengths = self.lengths[clip : clip + clip_blocks]
            fewest = sum(length or vocabulary.levels[0] for length in lengths)
            if most_tokens is not None and fewest > most_tokens:
                raise ValueError(f"most_tokens is {most_tokens}; a clip of the lengths {lengths} has at least {fewest}")


class Sampler:
    """Writes sequences of a grammar.

    Args:
        grammar: of the sequences.
        clip_blocks: blocks of a clip, for which a budget holds.
        drawing: how tokens are drawn.
        rows: sequences that are written side by side.
        device: where the tokens are.
    """

    def __init__(
        self, grammar: SequenceGrammar, clip_blocks: int, drawing: Drawing, rows: int, device: torch.device
    ) -> None:
        self._grammar, self._clip_blocks, self._drawing, self._rows = grammar, clip_blocks, drawing, rows
        self._levels = torch.tensor(grammar.vocabulary.levels, device=device)
        self._allowed = grammar.allowed.to(device)
        self._bias = drawing.length_bias * self._levels / self._levels[-1]
        # With guidance every row is read twice: with its class, and without one.
        self._copies = 1 if drawing.guidance == 1 else 2

        def zeros(*shape: int, dtype: torch.dtype = torch.int64) -> Tensor:
            return torch.zeros(max(rows, LEAST_ROWS), *shape, dtype=dtype, device=device)

        # Of each row: its tokens, how many they are, its chances, the lengths that are asked for; blocks that have
        # begun, codes that the last of them lacks, codes of the clip's blocks so far.
        self._tokens, self._count = zeros(grammar.longest), zeros()
        self._chances, self._lengths = zeros(grammar.longest, dtype=torch.float64), zeros(grammar.blocks)
        self._begun, self._lacking, self._spent = zeros(), zeros(), zeros()
        self._state = (
            *(self._tokens, self._count, self._chances, self._lengths),
            *(self._begun, self._lacking, self._spent),
        )

    @property
    def read_rows(self) -> int:
        """Rows that a reader must have."""
        return self._copies * len(self._tokens)

    def sample(self, requests: Sequence[Request], reader: Reader, seed: int) -> Iterator[tuple[int, Tensor]]:
        """The numbers of requests, which `Request.check` found good, and their sequences, as they are done."""
        waiting, running = deque(requests), list[Request]()
        while waiting or running:
            while waiting and len(running) < self._rows:
                running.append(waiting.popleft())
                self._enter(len(running) - 1, running[-1], reader, seed)
            self._step(len(running), reader)
            ended = (self._begun == self._grammar.blocks) & (self._lacking == 0)
            # From the last row on: what takes a row's place has not ended.
            for row in reversed(ended[: len(running)].nonzero()[:, 0].tolist()):
                end = self._tokens.new_tensor([self._grammar.vocabulary.end])
                yield running[row].number, torch.cat((self._tokens[row, : self._count[row]], end)).cpu()
                last = len(running) - 1
                if row != last:
                    self._move(last, row, reader)
                running[row] = running[last]
                running.pop()

    def _enter(self, row: int, request: Request, reader: Reader, seed: int) -> None:
        """Begins a request in a row; what is given of it is read at once, all but the last token."""
        prefix = request.prefix(self._grammar).to(self._tokens.device)
        self._tokens[row, : len(prefix)] = prefix
        self._count[row] = len(prefix)
        chances = np.random.default_rng((seed, request.number)).random(self._grammar.longest)
        self._chances[row] = torch.from_numpy(chances)
        self._lengths[row] = torch.tensor(request.lengths)
        self._begun[row], self._lacking[row] = request.given, 0
        self._spent[row] = sum(request.lengths[request.given // self._clip_blocks * self._clip_blocks : request.given])
        if len(prefix) > 1:
            known = prefix[:-1].repeat(self._copies, 1)
            known[1:, 0] = self._grammar.vocabulary.null
            places = torch.arange(known.shape[1], device=known.device).expand_as(known)
            reader.read(known, places, row * self._copies, known.shape[1])

    def _step(self, running: int, reader: Reader) -> None:
        """Adds a token to each of the first rows."""
        vocabulary, rows = self._grammar.vocabulary, torch.arange(running, device=self._count.device)
        count, begun, wanted = self._count[:running], self._begun[:running], self._lacking[:running] == 0
        logits = self._drawing.guided(self._read(running, reader))[:running]
        lengths = slice(vocabulary.first_length, vocabulary.first_class)
        logits[:, lengths] += self._bias
        # The next block's number; of a row that is at a code, any.
        block = begun.clamp(max=self._grammar.blocks - 1)
        spent = self._spent[:running].masked_fill(block % self._clip_blocks == 0, 0)
        allowed = self._allowed[torch.where(wanted, int(Due.LENGTH), int(Due.CODE))]
        allowed[:, lengths] &= self._possible(self._lengths[rows, block], block, spent)
        token = self._drawing.draw(logits, allowed, self._chances[rows, count])
        self._tokens[rows, count] = token
        level = self._levels[(token - vocabulary.first_length).clamp(0, len(self._levels) - 1)]
        self._lacking[:running] = torch.where(wanted, level, self._lacking[:running] - 1)
        self._spent[:running] = torch.where(wanted, spent + level, self._spent[:running])
        begun += wanted
        count += 1

    def _read(self, running: int, reader: Reader) -> Tensor:
        """Logits after the last tokens of the first rows, at least `LEAST_ROWS`."""
        rows = torch.arange(max(running, LEAST_ROWS), device=self._count.device)
        place = torch.where(rows < running, self._count[: len(rows)] - 1, 0)
        token = self._tokens[rows, place]
        if self._copies > 1:
            null = torch.where(place == 0, self._grammar.vocabulary.null, token)
            token, place = torch.stack((token, null), 1).flatten(), place.repeat_interleave(2)
        return reader.read(token[:, None], place[:, None], 0, int(self._count[:running].max()))

    def _possible(self, wanted: Tensor, block: Tensor, spent: Tensor) -> Tensor:
        """Which levels the next block of rows may have: bool `(n, levels)`."""
        possible = (wanted[:, None] == 0) | (wanted[:, None] == self._levels)
        if self._drawing.most_tokens is not None:
            # What the clip's later blocks take at least is kept for them.
            rows, fewest = torch.arange(len(block), device=block.device), self._lengths[: len(block)]
            fewest = torch.where(fewest == 0, self._levels[0], fewest).cumsum(1)
            end = ((block // self._clip_blocks + 1) * self._clip_blocks).clamp(max=self._grammar.blocks) - 1
            kept = fewest[rows, end] - fewest[rows, block]
            possible &= self._levels <= (self._drawing.most_tokens - spent - kept)[:, None]
        return possible

    def _move(self, source: int, target: int, reader: Reader) -> None:
        """Puts a row in the place of another."""
        for each in self._state:
            each[target] = each[source]
        reader.move(source * self._copies, target * self._copies, self._copies)
