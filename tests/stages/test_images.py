"""Images are clips of one frame: the paper's image config, made small, trains on photographs."""

from dataclasses import replace
from pathlib import Path

import pytest
import skimage.data
import torch
from PIL import Image

from evatok.data.folders import FolderConfig
from evatok.nn.transformer import TransformerConfig
from evatok.stages.data import DataConfig
from evatok.stages.proxy import ProxyConfig, ProxyTask, train_proxy
from evatok.tokenizer.model import VideoTokenizer
from tests.runs import mini_config
from tests.test_configs import PAPER, read

PHOTOGRAPHS = {"train": ("astronaut", "coffee", "rocket"), "held_out": ("chelsea",)}


@pytest.fixture
def config(tmp_path: Path) -> ProxyConfig:
    """The paper's, 32 pixels wide with a small model."""
    paper = read(ProxyConfig, PAPER / "proxy-webvid.yaml", PAPER / "image-proxy.yaml")
    for split, names in PHOTOGRAPHS.items():
        (tmp_path / split).mkdir()
        for name in names:
            Image.fromarray(getattr(skimage.data, name)()).save(tmp_path / split / f"{name}.jpg")
        (tmp_path / split / "all.csv").write_text("path\n" + "".join(f"{name}.jpg\n" for name in names))
    train, held_out = (FolderConfig(str(tmp_path / split), index="all.csv", min_frames=1) for split in PHOTOGRAPHS)
    clips = replace(paper.data.clips, sizes=[(32, 32)])
    small = mini_config(tmp_path / "run", tmp_path, steps=12, validate_every=12, checkpoint_every=12)
    size = TransformerConfig(32, 1, 2)
    return replace(
        small,
        data=DataConfig([train], [held_out], clips, group=4, validation_clips=1, validation_size=(32, 32)),
        model=replace(
            small.model,
            levels=tuple(level // 8 for level in paper.model.levels),
            blocks=1,
            patch=(1, 4, 4),
            encoder=size,
            decoder=size,
            default_assignment=(32,),
        ),
        discriminator=None,
    )


def test_an_image_tokenizer_trains_on_photographs_and_codes_one_frame(config: ProxyConfig) -> None:
    before = ProxyTask(config).validate(0).scalars
    tokenizer = VideoTokenizer.from_pretrained(train_proxy(config))
    task = ProxyTask(config)
    task.trained["tokenizer"].network.load_state_dict(tokenizer.state_dict())
    after = task.validate(12).scalars
    improved = [name for name in before if "/l1/" in name]
    assert len(improved) == 8 and all(after[name] < before[name] for name in improved)
    image = torch.from_numpy(skimage.data.chelsea()[:96, :128].copy()).movedim(-1, 0)[None, None]
    tokens = tokenizer.encode(image, uniform=48)
    assert tokens.lengths.tolist() == [[48]]
    assert tokenizer.decode(tokens).shape == image.shape
