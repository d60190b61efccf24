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

BENCH = Path(__file__).resolve().parent
ROOT = BENCH.parent
sys.path[:0] = [str(ROOT / "python"), str(BENCH)]

# No section starts after this; the whole run is to fit into ten minutes.
LAST_START_SECONDS = 8 * 60


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
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(options.cache_dir / "compiled")
    os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    import torch

    with torch.inference_mode():
        return _start_probe(options) if options.start_probe else _run(options)


def _run(options: argparse.Namespace) -> int:
    import torch

    import gpu_sections as sections
    from gpu_model import random_model

    began = time.monotonic()
    model = random_model(_configs(options), options.device, _log)
    gated = model.model.torch_device.type == "cuda" and not options.tiny
    table = Table(gated=gated)
    bench = sections.Bench(model, table, repeats=3 if options.tiny else 10)
    print(f"{model.model.device.name}, torch {torch.__version__}, {model.side} px, {model.model.dtype}", flush=True)
    parts: Sequence[tuple[str, Callable[[], None]]] = (
        ("P6", lambda: sections.step_efficiency(bench, full_compile=options.full_compile)),
        ("image", lambda: sections.whole_image(bench)),
        ("P2", lambda: sections.previews(bench)),
        ("P7", lambda: sections.tail(bench)),
        ("P4", lambda: sections.first_preview(bench)),
        ("P5", lambda: sections.batching(bench)),
        ("P9", lambda: _starts(table)),
    )
    for name, part in parts:
        if time.monotonic() - began > LAST_START_SECONDS:
            table.add(name, "left out: no time", None, "")
            continue
        try:
            part()
        except Exception as error:  # One section that fails must not cost the others their device time.
            traceback.print_exc()
            table.add(name, "failed", None, "", note=f"{type(error).__name__}: {str(error).splitlines()[0][:100]}")
    print(f"\n{table.text()}\n\n{time.monotonic() - began:.0f} s")
    device = re.sub(r"[^a-z0-9]+", "-", model.model.device.name.lower()).strip("-")
    now = datetime.datetime.now(datetime.UTC)
    file = options.json or BENCH / "results" / f"{device}{'-tiny' if options.tiny else ''}-{now:%Y%m%d-%H%M}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    about = {"device": model.model.device.name, "torch": torch.__version__, "side": model.side, "gated": gated}
    file.write_text(json.dumps({**about, "rows": [asdict(row) for row in table.rows]}, indent=2) + "\n")
    print(file)
    return 0


def _starts(table: Table) -> None:
    """P9: from the start of the process to ready for every call, with an empty cache and with the one it left."""
    with tempfile.TemporaryDirectory() as cache_dir:
        runs = [_start(cache_dir) for _ in range(2)]
    cold, warm = runs
    note = f"{warm['ready']:.1f} s of {cold['ready']:.1f} s; warm: {warm['speed']}"
    table.add("P9", "warm start / cold start", warm["ready"] / cold["ready"], "x", most=0.4, note=note)
    table.add("P9", "first picture after ready / the next", warm["first_request"], "x", most=1.1)


def _start(cache_dir: str) -> dict[str, float]:
    flags = [*sys.argv[1:], "--start-probe", "--cache-dir", cache_dir]
    began = time.monotonic()
    process = subprocess.Popen([sys.executable, __file__, *flags], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        for line in process.stdout:
            if line.startswith("{"):
                return {**json.loads(line), "ready": json.loads(line)["ready_at"] - began}
    finally:
        process.kill()
        process.wait()
    raise RuntimeError("the start probe ended without an answer")


def _start_probe(options: argparse.Namespace) -> int:
    from engine_run import run_engine
    from gpu_model import random_model, request
    from latentcast_worker.model.calibration import calibrate
    from latentcast_worker.model.calibration_store import CalibrationStore

    random = random_model(_configs(options), options.device, _log)
    model = calibrate(random.model, None, CalibrationStore(options.cache_dir / "calibration"), _log)
    ready_at = time.monotonic()
    seconds: list[float] = []
    for _ in range(4):
        began = time.monotonic()
        run_engine(model, [request(random.side, 8)])
        seconds.append(time.monotonic() - began)
    first = seconds[0] / median(seconds[1:])
    print(json.dumps({"ready_at": ready_at, "first_request": first, "speed": str(model.unet.speed)}), flush=True)
    return 0


def _configs(options: argparse.Namespace) -> Path:
    if not options.tiny:
        return options.configs
    from latentcast_worker.tiny_sdxl.build import ensure_tiny_sdxl

    return ensure_tiny_sdxl(options.cache_dir)


def _log(level: str, message: str) -> None:
    print(f"{level}: {message}", file=sys.stderr, flush=True)


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--configs", type=Path, default=ROOT.parent / "shared" / "models" / "sdxl-base-configs")
    parser.add_argument("--tiny", action="store_true", help="the tiny model of the tests instead of a full-size one")
    parser.add_argument("--full-compile", action="store_true", help="also the whole UNet, max-autotune: minutes")
    parser.add_argument("--cache-dir", type=Path, default=Path(tempfile.gettempdir()) / "latentcast-bench-cache")
    parser.add_argument("--json", type=Path, help="instead of a file in bench/results")
    parser.add_argument("--start-probe", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)
