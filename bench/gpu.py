"""`python bench/gpu.py`: what this GPU makes of the engine, with a full-size SDXL of random weights. No network.

Prints one table and writes it as JSON. Each figure is a ratio to something measured in the same process; the gates are
those for a full-size model on an H100-class card. `--device cpu --tiny` runs all of it small, to see that it runs.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from latentcast_worker.model.sdxl import SdxlModel

BENCH = Path(__file__).resolve().parent
ROOT = BENCH.parent
sys.path[:0] = [str(ROOT / "python"), str(BENCH)]

# Of this process: what comes before, starting Python, takes a hundredth of a second.
BEGAN = time.monotonic()


@dataclass(frozen=True, slots=True)
class Row:
    id: str
    what: str
    value: float | None
    unit: str
    gate: str = ""
    ok: bool | None = None
    note: str = ""


class Table:
    """Collects rows. Gates count only where `gated`: a full-size model on CUDA."""

    def __init__(self, *, gated: bool) -> None:
        self._gated = gated
        self.rows: list[Row] = []

    def add(
        self,
        name: str,
        what: str,
        value: float | None,
        unit: str,
        *,
        most: float | None = None,
        least: float | None = None,
        note: str = "",
    ) -> None:
        gate = f"<= {most:g}" if most is not None else f">= {least:g}" if least is not None else ""
        ok = None
        if gate and self._gated and value is not None:
            ok = value <= most if most is not None else value >= (least or 0)
        row = Row(name, what, value, unit, gate, ok, note)
        self.rows.append(row)
        print(self._line(row), flush=True)

    def text(self) -> str:
        return "\n".join(self._line(row) for row in self.rows)

    @staticmethod
    def _line(row: Row) -> str:
        value = "-" if row.value is None else f"{row.value:.4g}"
        verdict = {True: "ok", False: "OVER", None: ""}[row.ok]
        return f"{row.id:5} {row.what:46} {value:>9} {row.unit:9} {row.gate:9} {verdict:4} {row.note}".rstrip()


def main() -> int:
    options = _parse_arguments()
    if options.cache_dir is None:
        with tempfile.TemporaryDirectory(prefix="latentcast-bench-", ignore_cleanup_errors=True) as folder:
            options.cache_dir = Path(folder)
            return _in_cache(options)
    return _in_cache(options)


def _in_cache(options: argparse.Namespace) -> int:
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(options.cache_dir / "compiled")
    os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    import torch

    with torch.inference_mode():
        return _start_probe(options) if options.start_probe else _run(options)


def _run(options: argparse.Namespace) -> int:
    import torch

    import gpu_features as features
    import gpu_sections as sections
    from engine_run import run_one
    from gpu_model import device_bytes, random_model, request, unet_flops

    configs = _configs(options)
    random = random_model(configs, options.device, _log)
    device = random.model.device.name
    gated = random.model.torch_device.type == "cuda" and not options.tiny
    table = Table(gated=gated)
    print(f"{device}, torch {torch.__version__}, {random.side} px, {random.model.dtype}", flush=True)
    loaded = time.monotonic() - BEGAN
    weights = device_bytes(random.model)
    try:
        random.model = _calibrated(random.model, options.cache_dir)
    except Exception:  # What follows is worth knowing all the same.
        traceback.print_exc()
        table.add("P9", "calibration failed", None, "")
    ready = time.monotonic() - BEGAN
    repeats = 2 if options.tiny else options.repeats
    step_seconds = random.model.costs.seconds[0]
    bench = sections.Bench(random, table, repeats, unet_flops(configs, random.side), step_seconds)
    table.add("P9", "start with an empty cache", ready, "s", note=f"{loaded:.1f} s of it imports and making weights")
    first = _first_request(lambda: run_one(random.model, request(random.side, 8)))
    table.add("P9", "first picture after ready / the next", first, "x", most=1.1)

    def ways() -> None:
        sections.ways(bench, BEGAN + options.seconds, full_compile=options.full_compile)

    # With the seconds that each takes on an H200 with a full-size model, those worth most first.
    parts: Sequence[tuple[str, float, Callable[[], None]]] = (
        ("P6", 2, lambda: sections.step_efficiency(bench)),
        ("image", 15, lambda: sections.whole_image(bench)),
        ("P2", 25, lambda: sections.previews(bench)),
        ("P4", 20, lambda: sections.first_preview(bench)),
        ("P5", 25, lambda: sections.batching(bench)),
        ("P7", 5, lambda: sections.tail(bench)),
        ("cancel", 5, lambda: sections.cancelling(bench)),
        ("memory", 2, lambda: sections.memory(bench, weights)),
        ("P9", 30, lambda: _warm_start(table, loaded, ready, options.cache_dir)),
        ("inputs", 5, lambda: features.inputs(bench)),
        ("loras", 10, lambda: features.loras(bench)),
        ("shortcuts", 20, lambda: features.shortcuts(bench)),
        ("models", 40, lambda: features.several_models(bench, configs, options.cache_dir, options.device, _log)),
        ("ways", 15, ways),
    )
    now = datetime.datetime.now(datetime.UTC)
    name = re.sub(r"[^a-z0-9]+", "-", device.lower()).strip("-")
    file = options.json or BENCH / "results" / f"{name}{'-tiny' if options.tiny else ''}-{now:%Y%m%d-%H%M}.json"
    about = {"device": device, "torch": torch.__version__, "side": random.side, "gated": gated}
    for part, seconds, measure in parts:
        if options.sections and part not in options.sections:
            continue
        began = time.monotonic()
        if gated and began + seconds > BEGAN + options.seconds:
            table.add(part, "left out: no time", None, "")
        else:
            try:
                measure()
            except Exception as error:  # One section that fails must not cost the others their device time.
                traceback.print_exc()
                text = next(iter(str(error).splitlines()), "")
                table.add(part, "failed", None, "", note=f"{type(error).__name__}: {text[:100]}")
        print(f"[{part}: {time.monotonic() - began:.0f} s]", file=sys.stderr, flush=True)
        # After each, so that a run that is cut off leaves what it has found.
        _write(file, {**about, "rows": [asdict(row) for row in table.rows]})
    print(f"\n{table.text()}\n\n{time.monotonic() - BEGAN:.0f} s\n{file}")
    return 0


def _write(file: Path, content: dict[str, object]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content, indent=2) + "\n")


def _calibrated(model: SdxlModel, cache_dir: Path) -> SdxlModel:
    from latentcast_worker.model.calibration import calibrate
    from latentcast_worker.model.calibration_store import CalibrationStore

    return calibrate(model, None, CalibrationStore(cache_dir / "calibration"), _log)


def _first_request(make_picture: Callable[[], object]) -> float:
    seconds: list[float] = []
    for _ in range(4):
        began = time.monotonic()
        make_picture()
        seconds.append(time.monotonic() - began)
    return seconds[0] / median(seconds[1:])


def _warm_start(table: Table, loaded: float, ready: float, cache_dir: Path) -> None:
    """P9: from the start of a process to ready for every call, with the cache that this process left."""
    flags = [*sys.argv[1:], "--start-probe", "--cache-dir", str(cache_dir)]
    began = time.monotonic()
    process = subprocess.Popen([sys.executable, __file__, *flags], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        found = next((json.loads(line) for line in process.stdout if line.startswith("{")), None)
    finally:
        process.kill()
        process.wait()
    if found is None:
        raise RuntimeError("the start probe ended without an answer")
    warm = found["ready_at"] - began
    note = f"{warm:.1f} s, {found['loaded']:.1f} s of it imports and making weights; {found['speed']}"
    table.add("P9", "start with a warm cache / with an empty one", warm / ready, "x", most=0.4, note=note)
    calibrating, before = warm - found["loaded"], ready - loaded
    note = f"{calibrating:.1f} s of {before:.1f} s"
    table.add("P9", "calibration alone, warm / empty", calibrating / before, "x", note=note)
    table.add("P9", "first picture after a warm start / the next", found["first_request"], "x", most=1.1)


def _start_probe(options: argparse.Namespace) -> int:
    from engine_run import run_one
    from gpu_model import random_model, request

    random = random_model(_configs(options), options.device, _log)
    loaded = time.monotonic() - BEGAN
    model = _calibrated(random.model, options.cache_dir)
    ready_at = time.monotonic()
    first = _first_request(lambda: run_one(model, request(random.side, 8)))
    found = {"ready_at": ready_at, "loaded": loaded, "first_request": first, "speed": str(model.unet.speed)}
    print(json.dumps(found), flush=True)
    return 0


def _configs(options: argparse.Namespace) -> Path:
    if not options.tiny:
        return options.configs
    from latentcast_worker.tiny_sdxl.folder import ensure_tiny_sdxl

    return ensure_tiny_sdxl(options.cache_dir)


def _log(level: str, message: str) -> None:
    print(f"{level}: {message}", file=sys.stderr, flush=True)


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--configs", type=Path, default=ROOT.parent / "shared" / "models" / "sdxl-base-configs")
    parser.add_argument("--tiny", action="store_true", help="the tiny model of the tests instead of a full-size one")
    parser.add_argument("--full-compile", action="store_true", help="also the whole UNet, max-autotune: minutes")
    parser.add_argument("--cache-dir", type=Path, help="instead of an empty one; the first start is not cold then")
    parser.add_argument("--seconds", type=float, default=600, help="no section starts that would end later")
    parser.add_argument("--sections", type=lambda text: text.split(","), help="some of them: P6,P9")
    parser.add_argument("--repeats", type=int, default=5, help="of each measurement of a full-size model")
    parser.add_argument("--json", type=Path, help="instead of a file in bench/results")
    parser.add_argument("--start-probe", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)
