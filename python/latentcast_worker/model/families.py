"""Families of distilled models, and what a UNet predicts."""

from __future__ import annotations

from typing import TypeAlias

from ..protocol import FewStepKind
from ..settings import PREDICTION_TYPES, PredictionType

Prediction: TypeAlias = PredictionType
PREDICTIONS: tuple[Prediction, ...] = PREDICTION_TYPES

Family: TypeAlias = FewStepKind
