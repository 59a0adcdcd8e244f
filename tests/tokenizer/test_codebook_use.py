"""How codes are counted: by level, over windows."""

import pytest
import torch

from evatok.nn.packed import Layout
from evatok.tokenizer.codebook_use import CodebookUse
from evatok.tokenizer.network import Reconstruction
from evatok.tokenizer.quantizer import Quantized


def test_codes_are_counted_by_level_and_a_window_is_reported_once_it_has_ended() -> None:
    none, ids = torch.empty(0), torch.tensor([0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2])
    output = Reconstruction(none, Quantized(none, ids, none), Layout.of([[4, 8]]), {})
    use = CodebookUse(levels=2, codes=8)
    use.count(output, (4, 8))
    assert use.report((4, 8)) == {}
    use.end_window()
    assert use.window[:, :4].tolist() == [[2, 1, 1, 0], [2, 3, 3, 0]] and not use.counts.any()
    use.count(output, (4, 8))
    report = use.report((4, 8))
    assert report["codes/used"] == report["codes/used/4"] == 3 / 8
    assert report["codes/perplexity"] == pytest.approx(3)
