"""What a checkpoint's UNet predicts: the noise, or the velocity (v), perhaps down to zero signal."""

from __future__ import annotations

import json
from typing import Any

from ..families import Prediction
from .header import Header

# Sampled with the wrong one, a model gives noise and no error.
_OPTIONS: dict[Prediction, dict[str, Any]] = {
    "epsilon": {"prediction_type": "epsilon", "rescale_betas_zero_snr": False},
    "v_prediction": {"prediction_type": "v_prediction", "rescale_betas_zero_snr": False},
    # `leading` timesteps never reach the step of zero signal: 20 steps begin at 951.
    "v_prediction_zero_snr": {
        "prediction_type": "v_prediction",
        "rescale_betas_zero_snr": True,
        "timestep_spacing": "trailing",
    },
}


def prediction_options(prediction: Prediction) -> dict[str, Any]:
    """Options for a scheduler's `from_config`. Betas are computed there: registering them later has no effect."""
    return _OPTIONS[prediction]


def read_prediction(header: Header) -> Prediction | None:
    """What the file says of itself: marker tensors, then its metadata, then a scheduler config that lies beside it."""
    if "v_pred" in header.tensors:
        return "v_prediction_zero_snr" if "ztsnr" in header.tensors else "v_prediction"
    match header.metadata.get("modelspec.prediction_type", "").lower():
        case "v" | "v_prediction":
            return "v_prediction_zero_snr" if "ztsnr" in header.tensors else "v_prediction"
        case "epsilon":
            return "epsilon"
        case _:
            return _beside(header)


def _beside(header: Header) -> Prediction | None:
    try:
        config = json.loads((header.path.parent / "scheduler_config.json").read_text(encoding="utf-8"))
        prediction_type = config.get("prediction_type")
    except (OSError, ValueError, AttributeError):
        return None
    if prediction_type != "v_prediction":
        return "epsilon" if prediction_type == "epsilon" else None
    return "v_prediction_zero_snr" if config.get("rescale_betas_zero_snr") else "v_prediction"
