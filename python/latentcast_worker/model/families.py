"""Families of distilled models, and what a UNet predicts."""

from __future__ import annotations

from typing import Literal, TypeAlias

from ..settings import PREDICTION_TYPES, PredictionType

Prediction: TypeAlias = PredictionType
PREDICTIONS: tuple[Prediction, ...] = PREDICTION_TYPES

Family: TypeAlias = Literal["lightning", "hyper", "turbo", "dmd2", "lcm", "tcd"]
