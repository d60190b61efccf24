"""A full-size SDXL from one fp16 file on the CPU: does it load in bounded memory, and how long does a step take?

For a person to run, not part of `npm run bench`: it writes 7 GB and takes minutes. The weights are random, in the
layout of the original code; everything else comes from the configuration that ships with Latentcast. No network is
needed.

    python bench/full_size.py            # writes the file into a temporary folder, loads it, draws, removes it
    python bench/full_size.py --file FILE  # with a checkpoint that is there already, which is kept
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]

SIDE = 256
STEPS = 2


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--file", type=Path)
    parser.add_argument("--role", choices=["write", "draw"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    match options.role:
        case "write":
            write(options.file)
        case "draw":
            draw(options.file)
        case _ if options.file is not None:
            _run("draw", options.file)
        case _:
            with tempfile.TemporaryDirectory(prefix="latentcast-full-size-") as folder:
                file = Path(folder) / "random.safetensors"
                # In a process of its own: what it holds is not part of the figures.
                _run("write", file)
                _run("draw", file)
    return 0


def _run(role: str, file: Path) -> None:
    subprocess.run([sys.executable, __file__, "--role", role, "--file", str(file)], check=True)


def write(file: Path) -> None:
    """One fp16 file of 6.9 GB; as much host memory."""
    sys.path[:0] = [str(ROOT / "python")]
    import torch
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from safetensors.torch import save_file
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    from latentcast_worker.model.checkpoint.parts import SDXL_CONFIGS
    from tests.tiny_checkpoint import original_names

    def config(part: str) -> Any:
        return json.loads((SDXL_CONFIGS / part / "config.json").read_text(encoding="utf-8"))

    torch.manual_seed(0)
    torch.set_default_dtype(torch.float16)
    unet: Any = UNet2DConditionModel.from_config(config("unet"))
    vae: Any = AutoencoderKL.from_config(config("vae"))
    first: Any = CLIPTextModel(CLIPTextConfig.from_pretrained(SDXL_CONFIGS / "text_encoder"))
    second: Any = CLIPTextModelWithProjection(CLIPTextConfig.from_pretrained(SDXL_CONFIGS / "text_encoder_2"))
    parts = (unet, vae, first, second)
    tensors = original_names(*({name: t.half() for name, t in part.state_dict().items()} for part in parts))
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, file)


def draw(file: Path) -> None:
    """Prints what loading and drawing took."""
    sys.path[:0] = [str(ROOT / "python"), str(ROOT / "bench")]
    from image_params import plain_params
    from trained import load_exact

    with tempfile.TemporaryDirectory(prefix="latentcast-full-size-") as cache:
        began = time.perf_counter()
        model = load_exact(argparse.Namespace(model=str(file), cache_dir=Path(cache)))
        loaded = time.perf_counter()
        params = plain_params("a lighthouse at dusk", steps=STEPS, size=(SIDE, SIDE), guidance=5.0)
        (sample,) = model.prepare(params)
        prepared = time.perf_counter()
        for _ in range(sample.total_steps):
            model.step([sample])
        stepped = time.perf_counter()
        pixels = model.decode(sample)
        ended = time.perf_counter()
    print(f"file            {file.stat().st_size / 1e9:.2f} GB")
    print(f"load            {loaded - began:.1f} s as {model.device.dtype}, with a first step at the smallest size")
    print(f"prompts         {prepared - loaded:.1f} s")
    print(f"a step          {(stepped - prepared) / sample.total_steps:.1f} s at {SIDE} px with guidance")
    print(f"decode          {ended - stepped:.1f} s, {pixels.shape[1]} x {pixels.shape[0]}")
    # Of Linux in KiB. Pages of the mapped file count, though the system may take them back.
    print(f"most memory     {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.1f} GiB")


if __name__ == "__main__":
    raise SystemExit(main())
