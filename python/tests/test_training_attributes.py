from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from training.attributes import CLASS_COUNT, UNSAID, attribute_loss, labels_of
from training.batches import scene_odds
from training.captions import Mention
from training.scenes.spec import SIDES, TIMES, random_spec

NOTHING = Mention(time=False, weather=False, ground=False, body=False, thing=False, colour=False)


def test_only_what_a_caption_mentions_has_a_class() -> None:
    spec = replace(random_spec(np.random.default_rng(0)), time="sunset", body="sun", side="right")
    labels = labels_of(spec, replace(NOTHING, time=True, body=True))
    assert [label for label in labels if label >= 0] == [TIMES.index("sunset"), SIDES.index("right")]
    assert labels_of(spec, NOTHING) == UNSAID


@torch.no_grad()
def test_the_probe_is_rewarded_for_what_was_said_and_for_nothing_else() -> None:
    spec = random_spec(np.random.default_rng(1))
    said = torch.tensor([labels_of(spec, replace(NOTHING, time=True))])
    unsaid = torch.tensor([UNSAID])
    torch.manual_seed(0)
    probe, embeddings = nn.Linear(8, CLASS_COUNT), torch.randn(1, 77, 8)
    assert float(attribute_loss(probe, embeddings, unsaid)) == 0.0
    before = float(attribute_loss(probe, embeddings, said))
    probe.bias[int(said[0, 0])] += 5.0
    assert float(attribute_loss(probe, embeddings, said)) < 0.5 * before


def test_a_rare_thing_is_drawn_as_often_as_a_common_one() -> None:
    specs = [random_spec(np.random.default_rng((3, index))) for index in range(3000)]
    odds = scene_odds(specs)
    shares = dict.fromkeys({spec.thing for spec in specs}, 0.0)
    for spec, share in zip(specs, odds, strict=True):
        shares[spec.thing] += share
    assert odds.sum() == pytest.approx(1.0)
    assert shares["cactus"] == pytest.approx(shares["birds"])
    assert shares["none"] == pytest.approx(0.25)
