"""The sections of gpu.py, each a few rows of its table."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from statistics import median
from typing import TYPE_CHECKING

import torch
from PIL import Image
from torch.profiler import ProfilerActivity, profile

from engine_run import Later, run_engine, run_one
from gpu_model import RandomModel, device_bytes, request, synchronize, timed
from latentcast_worker.jpeg import encode_jpeg
from latentcast_worker.model.acceleration import Speed
from latentcast_worker.model.denoise import SdxlSample
from latentcast_worker.model.sdxl import SdxlModel
from latentcast_worker.protocol import Cancel, Generate, PreviewPlan

if TYPE_CHECKING:
    from gpu import Table

# Steps that are timed use up a schedule; no more than this are ever asked of one sample.
LONG_SCHEDULE = 200

LINEAR = PreviewPlan(every=1, quality=70, decoder="linear", source="x0")
CAPPED = PreviewPlan(every=1, max_per_second=10.0, quality=70, decoder="tae", source="x0")
EVERY_STEP = PreviewPlan(every=1, quality=70, decoder="tae", source="x0")

# What a way of calling the UNet may take to compile and to be timed.
WAY_SECONDS = 15.0

GIB = 2**30


@dataclass(slots=True)
class Bench:
    random: RandomModel
    table: Table
    repeats: int
    flops: int
    """Of a step."""
    step_seconds: float
    """Of the way that is shipped."""
    peak: float = float("nan")
    """Operations a second of a large matrix product."""

    @property
    def model(self) -> SdxlModel:
        return self.random.model

    @property
    def side(self) -> int:
        return self.random.side

    @property
    def is_cuda(self) -> bool:
        return self.model.torch_device.type == "cuda"


def step_efficiency(bench: Bench) -> None:
    """P6: what a step, the way it is shipped, gets out of the device beside a matrix product."""
    table = bench.table
    bench.peak = _matmul_flops(bench)
    table.add("P6", "matrix product", bench.peak / 1e12, "TFLOP/s", note="8192 cubed" if bench.is_cuda else "512 cubed")
    table.add("P6", "work of a step", bench.flops / 1e12, "TFLOP", note="counted; with guidance")
    bench.step_seconds = _report_way(bench, "as shipped")
    table.add("P6", "a step", bench.step_seconds * 1000, "ms", note=f"{bench.side} px, {bench.model.unet.speed}")
    floor = bench.flops / bench.peak
    table.add(
        "P6", "step as shipped / floor", bench.step_seconds / floor, "x", most=2.2, note="work over matrix product"
    )


def ways(bench: Bench, deadline: float, *, full_compile: bool) -> None:
    """P6 for each other way of calling the UNet. Leaves the model uncalibrated."""
    model = bench.model
    shipped = str(model.unet.speed)
    tried = {"eager": Speed()}
    if bench.is_cuda:
        tried |= {
            "channels last": Speed(channels_last=True),
            "cuDNN attention": Speed(attention="cudnn"),
            "Flash attention": Speed(attention="flash"),
            "graph": Speed(graphs=True),
            "compiled, graph": Speed(compiled=True, graphs=True),
            "compiled, cuDNN, graph": Speed(attention="cudnn", compiled=True, graphs=True),
            "compiled, channels last, cuDNN, graph": Speed(True, "cudnn", True, True),
        }
    seconds = [bench.step_seconds]
    for name, speed in tried.items():
        if bench.is_cuda and time.monotonic() + WAY_SECONDS > deadline:
            bench.table.add("P6", f"share of the matrix product: {name}", None, "", note="left out: no time")
            continue
        model.unet.use(speed)
        seconds.append(_report_way(bench, name))
    if full_compile:
        model.unet.use(Speed(channels_last=True))
        bench.random.unet.compile(mode="max-autotune-no-cudagraphs", fullgraph=True, dynamic=False)
        seconds.append(_report_way(bench, "whole UNet, max-autotune"))
    bench.table.add("P6", "best tried / as shipped", min(seconds) / bench.step_seconds, "x", least=0.95, note=shipped)


def _report_way(bench: Bench, name: str) -> float:
    model = bench.model
    samples = model.prepare(request(bench.side, LONG_SCHEDULE).params)
    first = timed(model, lambda: model.step(samples))
    for _ in range(4):  # Graphs are captured at the fourth call.
        model.step(samples)
    seconds = median(timed(model, lambda: model.step(samples)) for _ in range(3 * bench.repeats))
    note = f"{seconds * 1000:.2f} ms, {bench.flops / seconds / 1e12:.4g} TFLOP/s, first call {first:.1f} s"
    if bench.is_cuda:
        kernels = _kernel_seconds(lambda: model.step(samples))
        note += f", wall / kernels {seconds / kernels:.2f}" if kernels else ", kernels not measured"
    bench.table.add("P6", f"share of the matrix product: {name}", bench.flops / seconds / bench.peak, "", note=note)
    return seconds


def _kernel_seconds(work: Callable[[], None]) -> float:
    """Sum of the time of all kernels of one call; 0 where the profiler cannot tell."""
    torch.cuda.synchronize()
    try:
        with profile(activities=[ProfilerActivity.CUDA]) as profiler:
            work()
            torch.cuda.synchronize()
    except RuntimeError:
        return 0
    return sum(event.self_device_time_total for event in profiler.key_averages()) / 1e6


def _matmul_flops(bench: Bench) -> float:
    side = 8192 if bench.is_cuda else 512
    dtype = bench.model.dtype
    left, right = (torch.randn(side, side, device=bench.model.torch_device).to(dtype) for _ in range(2))
    for _ in range(3):
        left @ right
    seconds = min(timed(bench.model, lambda: left @ right) for _ in range(20))
    return 2 * side**3 / seconds


def whole_image(bench: Bench) -> None:
    """From the request to the pixels."""
    for steps, plan, most in ((20, None, None), (20, CAPPED, None), (30, CAPPED, 1.25)):
        runs = [run_one(bench.model, request(bench.side, steps, preview=plan)) for _ in range(bench.repeats)]
        seconds = median(run.ended for run in runs)
        what = f"{steps} steps, {'no previews' if plan is None else 'previews at most 10 a second'}"
        note = f"{len(runs[-1].previews)} previews; {60 / seconds:.3g} images a minute"
        bench.table.add("image", what, seconds, "s", most=most, note=note)


def previews(bench: Bench) -> None:
    """P2: what a step costs with previews beside what it costs without, in turns."""
    for what, plan, most in (
        ("linear, every step", LINEAR, 1.01),
        ("tae, at most 10 a second", CAPPED, 1.02),
        ("tae, every step", EVERY_STEP, 1.08),
    ):
        ratios: list[float] = []
        count = 0
        waits: list[float] = []
        for repeat in range(bench.repeats):
            arms: list[PreviewPlan | None] = [plan, None] if repeat % 2 == 0 else [None, plan]
            times: dict[bool, float] = {}
            for arm in arms:
                run = run_one(bench.model, request(bench.side, 20, preview=arm))
                times[arm is not None] = run.step_seconds
                count = max(count, len(run.previews))
                waits += run.preview_seconds
            ratios.append(times[True] / times[False])
        alone = _preview_seconds(bench, plan)
        note = (
            f"{count} of 20 steps; decode to JPEG {median(waits) * 1000:.1f} ms (longest {max(waits) * 1000:.1f}), "
            f"on an idle device {alone * 1000:.1f} ms"
        )
        bench.table.add("P2", f"previews: {what}", median(ratios), "x", most=most, note=note)


def _preview_seconds(bench: Bench, plan: PreviewPlan) -> float:
    """From the start of a preview's decoding to its JPEG while nothing else runs."""
    model = bench.model
    samples = model.prepare(request(bench.side, 4).params)
    model.step(samples)

    def make() -> None:
        for pixels in model.start_preview(samples, plan).wait():
            encode_jpeg(pixels, plan.quality)

    make()
    return median(timed(model, make) for _ in range(bench.repeats))


def tail(bench: Bench) -> None:
    """P7: from the last step to the bytes of the picture, beside one step and beside the naive way."""
    model = bench.model
    (sample,) = model.prepare(request(bench.side, LONG_SCHEDULE).params)
    model.step([sample])
    model.decode(sample)
    decode = median(timed(model, lambda: model.decode(sample)) for _ in range(bench.repeats))
    whole = median(timed(model, lambda: encode_jpeg(model.decode(sample), 95)) for _ in range(bench.repeats))
    note = f"{decode * 1000:.1f} ms decode, {(whole - decode) * 1000:.1f} ms JPEG"
    bench.table.add("P7", "tail in steps", whole / bench.step_seconds, "steps", most=2, note=note)
    naive = median(timed(model, lambda: _naive_tail(bench, sample.latents)) for _ in range(3))
    bench.table.add(
        "P7", "naive tail / ours", naive / whole, "x", least=3, note=f"{naive * 1000:.0f} ms: fp32, PIL, PNG"
    )


def _naive_tail(bench: Bench, latents: torch.Tensor) -> None:
    vae = bench.random.vae
    dtype = vae.dtype
    vae.to(torch.float32)
    image = vae.decode(latents.float() / vae.config.scaling_factor, return_dict=False)[0]
    vae.to(dtype)
    values = (image / 2 + 0.5).clamp(0, 1).cpu().permute(0, 2, 3, 1).float().numpy()
    Image.fromarray((values[0] * 255).round().astype("uint8")).save(io.BytesIO(), format="PNG")


def first_preview(bench: Bench) -> None:
    """P4: a new prompt's first preview, idle beside its prompts and one step, and behind older pictures."""
    ratios: list[float] = []
    waits: list[float] = []
    works: list[float] = []
    for repeat in range(2 * bench.repeats):
        fresh = _with_prompt(request(bench.side, 4, preview=EVERY_STEP), f"new prompt {repeat}")
        waits.append(run_one(bench.model, fresh).previews[0])
        other = _with_prompt(fresh, f"another prompt {repeat}").params
        works.append(timed(bench.model, lambda other=other: bench.model.step(bench.model.prepare(other))))
        ratios.append(waits[-1] / works[-1])
    note = f"{median(waits) * 1000:.0f} ms; prompts and one step {median(works) * 1000:.0f} ms"
    bench.table.add("P4", "first preview, idle", median(ratios), "x", most=1.3, note=note)
    for load in (1, 4, 8):
        waits = [_loaded_first_preview(bench, load, repeat) for repeat in range(2)]
        note = f"{max(waits) * 1000:.0f} ms, the longer of {len(waits)}"
        steps = max(waits) / bench.step_seconds
        bench.table.add("P4", f"first preview, {load} before it", steps, "steps", most=3, note=note)


def _loaded_first_preview(bench: Bench, load: int, repeat: int) -> float:
    """Of a new prompt that comes in the middle of a step, when each of `load` older pictures has done a few."""
    older = [request(bench.side, 10, seed=index, preview=CAPPED, name=f"older {index}") for index in range(load)]
    new = _with_prompt(request(bench.side, 4, preview=EVERY_STEP, name="new"), f"behind {load}, {repeat}")
    jobs = run_engine(bench.model, older, [Later(3 * load, bench.step_seconds / 2, new)])
    return jobs["new"].previews[0] - jobs["new"].arrived


def _with_prompt(base: Generate, prompt: str) -> Generate:
    return replace(base, params=replace(base.params, prompt=prompt))


def batching(bench: Bench) -> None:
    """P5: pictures a second by how many share a call, at mixed timesteps, and how far they are from solo."""
    model = bench.model
    for side in (bench.side // 2, bench.side):
        solo = _batch_seconds(bench, side, 1)
        bench.table.add("P5", f"{side} px, one in a call", solo * 1000, "ms", note=f"max_batch {_max_batch(model)}")
        for count in (2, 4, 8):
            seconds = _batch_seconds(bench, side, count)
            least = 1.8 if count == 4 and side < bench.side else None
            note = f"pictures a second, solo = 1; {seconds * 1000:.1f} ms"
            bench.table.add("P5", f"{side} px, {count} in a call", count * solo / seconds, "x", least=least, note=note)
        _throughput(bench, side)
    alone = [_advanced(bench, index) for index in range(4)]
    together = [_advanced(bench, index) for index in range(4)]
    for sample in alone:
        model.step([sample])
    model.step(together)
    synchronize(model)
    error = max(
        float((a.latents - b.latents).abs().max() / a.latents.std()) for a, b in zip(alone, together, strict=True)
    )
    bench.table.add("P5", "largest change of a latent by company", error, "std", note="one step, four in a call")


def _max_batch(model: SdxlModel) -> int:
    return model.capabilities.max_batch


def _throughput(bench: Bench, side: int) -> None:
    """Whole pictures that are asked for at once, as the engine makes them."""
    together = [request(side, 20, seed=index, preview=CAPPED, name=f"{index}") for index in range(8)]
    ended = [job.ended for job in run_engine(bench.model, together).values()]
    note = f"8 at once, 20 steps, previews; the last after {max(ended):.1f} s"
    bench.table.add("P5", f"{side} px, throughput", 60 * len(ended) / max(ended), "a minute", note=note)


def _advanced(bench: Bench, steps: int, side: int | None = None) -> SdxlSample:
    (sample,) = bench.model.prepare(request(side or bench.side, LONG_SCHEDULE, seed=steps).params)
    for _ in range(steps):
        bench.model.step([sample])
    return sample


def _batch_seconds(bench: Bench, side: int, count: int) -> float:
    samples = [_advanced(bench, index, side) for index in range(count)]
    for _ in range(4):
        bench.model.step(samples)
    return median(timed(bench.model, lambda: bench.model.step(samples)) for _ in range(bench.repeats))


def cancelling(bench: Bench) -> None:
    """From a cancellation in the inbox to an idle device, at eight places within a step."""
    waits: list[float] = []
    for part in range(8):
        job = request(bench.side, 20, preview=CAPPED)
        after = Later(4, bench.step_seconds * part / 8, Cancel(job_id=job.job_id, incarnation=job.incarnation))
        times = run_one(bench.model, job, [after])
        waits.append(times.ended - times.cancelled)
    steps = max(waits) / bench.step_seconds
    note = f"median {median(waits) * 1000:.0f} ms, longest {max(waits) * 1000:.0f} ms"
    bench.table.add("cancel", "cancel to idle, the longest", steps, "steps", most=1.5, note=note)


def memory(bench: Bench, weights: int) -> None:
    """What the card has to hold."""
    if not bench.is_cuda:
        return
    bench.table.add("memory", "weights", weights / GIB, "GiB", note="with what CUDA needs for itself")
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    run_one(bench.model, request(bench.side, 4, preview=EVERY_STEP))
    used, held = torch.cuda.max_memory_allocated(), torch.cuda.max_memory_reserved()
    note = f"torch: {used / GIB:.1f} GiB at most in use, {held / GIB:.1f} GiB held, graphs among it"
    bench.table.add("memory", "one picture", device_bytes(bench.model) / GIB, "GiB", note=note)
    samples = [_advanced(bench, index) for index in range(4)]
    bench.model.step(samples)
    bench.table.add("memory", "four pictures in a call", torch.cuda.max_memory_allocated() / GIB, "GiB", note="in use")
