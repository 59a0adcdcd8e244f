"""Stage 3: a router, trained on the tables of searched clips (paper, section 4)."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from evatok.allocation.calibration import Calibration
from evatok.allocation.reward import ProxyReward
from evatok.evaluation.routing import Prediction, prediction_scores
from evatok.evaluation.strategies import SWEEP
from evatok.losses.routing import RoutingLoss, RoutingLossConfig, targets_of
from evatok.router.config import RouterConfig
from evatok.router.model import Router
from evatok.router.network import RouterNetwork
from evatok.router.vit import VitNetwork
from evatok.stages.search.dataset import SearchedBatch, SearchedBatches, SearchedClips
from evatok.stages.search.folder import check_held_out
from evatok.training.averaging import check_ema_decay
from evatok.training.loop import LoopConfig, train
from evatok.training.optimizers import OptimizerConfig
from evatok.training.task import Item, Task, Trained, Validation
from evatok.utils.configs import check_least
from evatok.utils.ranks import meet, rank_and_world

log = logging.getLogger(__name__)

_TOGETHER = 64
_BEAM_CLIPS = 40  # at most, by which beams are calibrated


@dataclass(frozen=True)
class RouterTrainingConfig:
    """Everything about the training of a router.

    Args:
        folder: where the run is kept: log, checkpoints, and the trained router in `final`.
        train: folder of a search of training clips.
        validation: folder of a search of held-out clips, by which prices are calibrated too; None: by `train`.
        model: the router; its levels and blocks are those of the search.
        loss: what is minimised.
        optimizer: how weights are updated.
        loop: length, precision, seed, logging.
        w_q: preference of the trained router where nothing else is asked for; a classification's only one.
        batch: clips of a batch; where fewer were searched, all of them, which is logged.
        keep_patches: share of the patches that are looked at in a step, drawn for each clip.
        augment: probability of each change of a clip's frames that leaves its table nearly as it is: mirrored, upside
            down, with its colour channels in another order, as a negative.
        ema_decay: decay per step of the moving average of the weights, which is what is validated and saved; None: no
            average, the weights themselves are.
    """

    folder: str
    train: str
    validation: str | None = None
    model: RouterConfig = field(default_factory=RouterConfig)
    loss: RoutingLossConfig = field(default_factory=RoutingLossConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    loop: LoopConfig = field(default_factory=LoopConfig)
    w_q: float = 1.2
    batch: int = 32
    keep_patches: float = 1.0
    augment: float = 0.5
    ema_decay: float | None = 0.999

    def __post_init__(self) -> None:
        self.loss.check(self.model)
        if self.model.head == "classification" and self.loss.w_q[0] != self.w_q:
            raise ValueError(f"a classification learns one preference: loss.w_q is {self.loss.w_q}, w_q {self.w_q}")
        if self.model.calibration is not None:
            raise ValueError("model.calibration must be None: it is what training finds")
        if not 0 < self.w_q <= 2:
            raise ValueError(f"w_q must be above 0 and at most 2, got {self.w_q}")
        check_least(self, 1, "batch")
        if not 0 < self.keep_patches <= 1:
            raise ValueError(f"keep_patches must be above 0 and at most 1, got {self.keep_patches}")
        if self.model.blockwise and self.keep_patches != 1:
            raise ValueError(f"keep_patches must be 1 for a blockwise router, which has none, got {self.keep_patches}")
        if self.model.blockwise and self.augment:
            raise ValueError(
                f"augment must be 0 for a blockwise router, to which it changes nothing, got {self.augment}"
            )
        if not 0 <= self.augment <= 1:
            raise ValueError(f"augment is a probability, between 0 and 1, got {self.augment}")
        check_ema_decay(self.ema_decay)


def train_router(config: RouterTrainingConfig, resume: bool = False) -> Path:
    """Trains a router; returns the folder of the result, which `Router.from_pretrained` reads.

    Raises:
        ValueError: a search is not finished, does not fit the router or the other search, or shares videos with it.
    """
    torch.manual_seed(config.loop.seed)
    return train(RouterTask.opened(config), config, resume)


class RouterTask(Task[SearchedBatch]):
    """Prediction of searched tables from the clips' frames.

    Args:
        config: of the training.
        clips: to train on.
        held_out: to validate by; None: nothing is validated, and prices are calibrated by the training clips.
    """

    batches: SearchedBatches

    def __init__(self, config: RouterTrainingConfig, clips: SearchedClips, held_out: SearchedClips | None) -> None:
        _check_fits(config.model, clips)
        self.config, self.held_out = config, held_out
        whole = clips.whole
        if config.loss.of_whole_tables or config.model.head != "prefix_regression":
            clips = whole
        self.reward = ProxyReward.fit(whole.table.clip_lpips, whole.table.space.costs)
        self.loss = RoutingLoss(config.loss, config.model, self.reward, whole.table.lpips)
        network = Router(config.model).network
        if config.model.head != "classification":
            network.set_statistics(targets_of(config.model, clips.table.lpips))
        self.trained = {"router": Trained(network, config.optimizer, config.ema_decay)}
        self._calibrated_by = whole if held_out is None else held_out
        self.batches = SearchedBatches(clips, config.batch, config.augment, config.loop.seed)
        self._clips = len(clips)
        # Measures are the same in every step.
        self._seen = torch.cat([*map(network.look, clips.batches(_TOGETHER))]) if config.model.blockwise else None
        if self.batches.size < config.batch:
            log.warning("batch is %d, and %d clips were searched: every batch has them all", config.batch, len(clips))

    @classmethod
    def opened(cls, config: RouterTrainingConfig) -> "RouterTask":
        """The task of a config; ValueError as `train_router` says."""
        meet()
        training, validation = Path(config.train), config.validation and Path(config.validation)
        if validation:
            check_held_out(training, validation)
        return cls(config, SearchedClips(training), SearchedClips(validation).whole if validation else None)

    def losses(self, step: int, item: Item[SearchedBatch]) -> Iterator[tuple[str, dict[str, Tensor]]]:
        """The routing losses of a batch."""
        generator = item.generator()
        output = self.trained["router"].model(*self._shown(item.batch, generator)).float()
        yield "router", self.loss(output, item.batch.values.to(output.device), generator)

    def _shown(self, batch: SearchedBatch, generator: torch.Generator) -> tuple[Tensor, ...]:
        """What the network is given: what it sees of the clips, and which patches of that, if not all."""
        network = self.trained["router"].network
        if self._seen is not None:
            return (self._seen[batch.rows].to(network.device),)
        video = network.look(batch.video.to(network.device))
        if self.config.keep_patches == 1:
            return (video,)
        assert isinstance(network, VitNetwork)
        patches = network.patch_count(video)
        order = torch.rand(len(video), patches, generator=generator).argsort(1)
        return video, order[:, : max(1, round(self.config.keep_patches * patches))].to(video.device)

    def report(self, step: int) -> dict[str, float]:
        """How often each clip has been seen, on average."""
        return {"epochs": (step + 1) * self.batches.size / self._clips}

    def validate(self, step: int) -> Validation:
        """Percentile of the picks on held-out clips at the preferences that the router knows, by averaged weights."""
        if self.held_out is None:
            return Validation({})
        table = self.held_out.table
        prediction = self._prediction(self.held_out, self.trained["router"].averaged())
        scores = [
            prediction_scores(table.clip_lpips, table.space, self.reward, w_q, prediction)
            for w_q in sorted({*SWEEP, self.config.w_q})
            if prediction.knows(w_q)
        ]
        scalars = {f"percentile/{each.w_q:g}": each.percentile for each in scores}
        return Validation(scalars | {"percentile": sum(scalars.values()) / len(scalars)})

    def _prediction(self, clips: SearchedClips, network: RouterNetwork) -> Prediction:
        """What the router with this network says of clips."""
        router = self._router(network)
        table = torch.cat([router.table(video) for video in clips.batches(_TOGETHER)])
        return Prediction("router", table, self.config.w_q if self.config.model.head == "classification" else None)

    def _router(self, network: RouterNetwork) -> Router:
        router = Router(self.config.model).eval()
        router.network = network
        return router

    def save(self, folder: Path) -> None:
        """Writes the averaged, calibrated router for `Router.from_pretrained`."""
        network = self.trained["router"].averaged()
        if rank_and_world()[0]:
            return
        calibration = Calibration(self.reward, self.config.w_q)
        if self.config.model.head != "classification":
            table, space = self._prediction(self._calibrated_by, network).table, self.config.model.space
            calibration = Calibration.fit(table, space, self.reward, self.config.w_q)
        if self.config.model.head == "prefix_regression":
            calibration = calibrated_for_beams(calibration, self._router(network), self._calibrated_by)
        calibration = replace(calibration, lpips_net=self._calibrated_by.table.made_by["lpips_net"])
        router = Router(replace(self.config.model, calibration=calibration))
        router.network.load_state_dict(network.state_dict())
        router.save_pretrained(folder)


def calibrated_for_beams(calibration: Calibration, router: Router, clips: SearchedClips) -> Calibration:
    """A calibration with what beams take of some of the clips, evenly spread, by the router's predictions."""
    some = clips.only(range(0, len(clips), -(-len(clips) // _BEAM_CLIPS)))
    values = [values for video in some.batches(_TOGETHER) if (values := router.values(video)) is not None]
    return calibration.with_beams(some.table.lpips, torch.cat(values), some.table.mse, router.config.space)


def _check_fits(model: RouterConfig, clips: SearchedClips) -> None:
    if model.space != clips.table.space:
        raise ValueError(f"model.levels and model.blocks must be those of the search, {clips.table.space}")
    frames = clips.table.made_by["frames"]
    if model.clip_frames != frames:
        raise ValueError(f"model.blocks * model.patch[0] must be the {frames} frames of the searched clips")
