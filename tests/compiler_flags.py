"""How XLA compiles in tests: they compile much and run little."""

from importlib.metadata import version

# The older code generator for fused operations takes two thirds of the newer one's time. Later versions
# of jaxlib have it no more, and end at a flag that they don't know.
OLDER_CODE = ("xla_cpu_use_fusion_emitters",) if version("jaxlib").startswith("0.10.") else ()

# What LLVM does for speed is left out. What XLA itself does (fusion, dead code, buffer assignment), and
# so FLOPs and memory, stays as it is, but for what `as_shipped` in conftest.py says.
FLAGS = (
    "--xla_backend_optimization_level=0",
    "--xla_llvm_disable_expensive_passes=true",
    "--xla_force_host_platform_device_count=8",  # virtual; what names no device uses the first
    *(f"--{name}=false" for name in OLDER_CODE),
)
