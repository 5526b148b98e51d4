"""What compiled programs compute and send, as devices double. The table: `experiments.traffic`."""

import pytest

from experiments import traffic

pytestmark = pytest.mark.usefixtures("as_shipped")

HEAD = traffic.WIDTH * traffic.CLASSES
SECOND = traffic.WIDTH**2
TOTAL = sum(x.size for x in traffic.parameters().values())
SENT = {
    "plain step": [TOTAL],
    "exact": [TOTAL] * 3,
    "head, full": [TOTAL, HEAD, TOTAL],
    "head, active only": [HEAD, HEAD, TOTAL],
    "two groups, active only": [HEAD + SECOND, HEAD + SECOND, TOTAL],
    "head, one-pass": [TOTAL, HEAD],
}


def reductions(program):
    """Sizes of the reductions of at least the head's size; a few scalars may ride along."""
    found = traffic.collectives(program.as_text())
    return [one.size for one in found if one.kind == "all-reduce" and one.size >= HEAD]


def check(name, way):
    row = traffic.row(name, way)
    for fewer, more in zip(row["flops_per_device"], row["flops_per_device"][1:]):
        assert abs(fewer / more / 2 - 1) < 0.03, row
    found = [size for kind, size in row["collectives"] if kind == "all-reduce" and size >= HEAD]
    assert len(found) == len(SENT[name])
    for size, expected in zip(sorted(found), sorted(SENT[name]), strict=True):
        assert expected <= size <= expected + 4, row
    for kind, size in row["collectives"]:  # outputs and labels, never inputs
        assert kind == "all-reduce" or size <= traffic.N * traffic.CLASSES, row


@pytest.mark.slow
@pytest.mark.parametrize("way", ["jit", "shard_map"])
def test_head_active_only(way):
    """FLOPs per device halve within 3 %; one gradient is summed for the actual step, the head's share
    alone for the virtual and the meta step.

    Fails if a device does another's work, if closed groups' gradients travel, or if inputs do.
    """
    check("head, active only", way)


@pytest.mark.slow
@pytest.mark.parametrize("way", traffic.WAYS)
@pytest.mark.parametrize("name", [name for name in SENT if name != "head, active only"])
def test_every_estimator(name, way):
    """As above; a full look-ahead sums one more gradient, one-pass one less."""
    check(name, way)


@pytest.mark.parametrize("way", ["jit", pytest.param("shard_map", marks=pytest.mark.slow)])
def test_part_of_a_batch(way):
    """A quarter of a batch over 8 devices is a quarter of each device's share: no input travels, and
    its FLOPs are spread too. Fails if the leading examples are taken, which lie on two devices."""
    name = "exact, a quarter"
    alone, eight = traffic.compiled(name, way, 1), traffic.compiled(name, way, 8)
    assert alone.cost_analysis()["flops"] / eight.cost_analysis()["flops"] > 8 * 0.94
    for one in traffic.collectives(eight.as_text()):
        assert one.kind in ("all-reduce", "all-gather")
        assert one.kind == "all-reduce" or one.size <= traffic.N * traffic.CLASSES


@pytest.mark.slow
def test_gates():
    """With learned gates FLOPs are a / N + b within 3 %, b what samplers and the optimizer do on every
    device. Fails if samplers grow with the devices."""
    row = traffic.row("learned gates, lowest cut", "shard_map")
    for count, flops in zip((1, 2, 4, 8), row["flops_per_device"]):
        expected = row["spread"] / count
        assert abs((flops - row["every_device"]) / expected - 1) < 0.03


@pytest.mark.slow
def test_fsdp_sends_no_inputs_and_keeps_a_share():
    """Parameters and optimizer state spread over 8 devices: a device holds about an eighth.

    Fails if a state stays whole on every device.
    """
    whole = traffic.compiled("head, active only", "jit", 8)
    spread = traffic.compiled("head, active only", "jit", 8, fsdp=True)
    sizes = [p.memory_analysis().argument_size_in_bytes for p in (whole, spread)]
    batch = (traffic.N + traffic.M) / 8 * (traffic.INPUTS + 1) * 4
    assert sizes[1] - batch < (sizes[0] - batch) * 0.25
