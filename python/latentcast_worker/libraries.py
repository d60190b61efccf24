"""How a worker imports the libraries that models are made of: three thousand modules, most of the time of a start."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module

# These import nearly all the others. Not a package's lazy names, which would come later and one by one.
_LIBRARIES = (
    "diffusers.models.autoencoders.autoencoder_kl",
    "diffusers.models.unets.unet_2d_condition",
    "transformers.models.clip.modeling_clip",
)


def import_libraries() -> None:
    with cheap_imports():
        for name in _LIBRARIES:
            import_module(name)


@contextmanager
def cheap_imports() -> Iterator[None]:
    """For imports of libraries. The garbage collection has to be on, and is on again at the end.

    Imports make a million objects and hardly any garbage: collections would visit them again and again, a sixth of the
    processor time. What there is at the end is left out of all later collections too, which would stop the steps.

    Python compiles what it imports. The orchestrator has it not kept, since the files would lie in its own package;
    libraries that were installed without theirs (as uv does) would be compiled by each worker, for ten seconds.
    """
    keeps_nothing = sys.dont_write_bytecode
    sys.dont_write_bytecode = False
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
        sys.dont_write_bytecode = keeps_nothing
