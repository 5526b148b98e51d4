"""`model.pretrained` of a config: runs start from the file's weights; what can't work is refused."""

import jax
import numpy as np
import pytest
from models import golden_formula

from famus_jax.train.config import parse_config
from famus_jax.train.setting import make_setting

save_file = pytest.importorskip("safetensors.numpy").save_file


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A file of weights, and sets of 32x32 pictures, in color and gray."""
    folder = tmp_path_factory.mktemp("pretrained")
    tensors = golden_formula.torchvision_resnet50()
    save_file({k: v.astype(np.float32) for k, v in tensors.items()}, folder / "weights.safetensors")
    pictures = np.random.default_rng(0).integers(0, 256, (60, 32, 32, 3)).astype(np.uint8)
    labels = np.arange(60) % 2
    np.savez(folder / "color.npz", images=pictures, labels=labels)
    np.savez(folder / "gray.npz", images=pictures[..., :1], labels=labels)
    (folder / "weights.pth").write_bytes(b"\x80\x02 a pickle")
    return folder


def settings(folder, pretrained="weights.safetensors", source="color.npz", **model):
    return parse_config(
        {
            "data": {"source": str(folder / source), "validation_per_class": 5},
            "model": {"name": "resnet_50", "pretrained": str(folder / pretrained), **model},
            "runs": [{"method": "ce"}],
        }
    )


@pytest.mark.slow
def test_networks_start_from_the_file(folder, tmp_path):
    """All but the head, in every network. Fails if the fresh weights stay, or if two are one buffer."""
    setting = make_setting(settings(folder), tmp_path)
    (one, state), (other, _) = (setting.init(jax.random.key(seed)) for seed in (0, 1))
    assert one["head"]["kernel"].shape == (2048, 2)
    assert not np.allclose(one["head"]["kernel"], other["head"]["kernel"])
    tensors = golden_formula.torchvision_resnet50()
    kernel = tensors["layer3.4.conv2.weight"].transpose(2, 3, 1, 0)
    np.testing.assert_array_equal(one["stage3_block4"]["conv2"]["kernel"], kernel)
    mean = state["batch_stats"]["stem_norm"]["mean"]
    np.testing.assert_array_equal(mean, tensors["bn1.running_mean"])
    jax.tree.map(lambda x: x.delete(), one)  # as a training step that donates its state does
    np.testing.assert_array_equal(other["stage3_block4"]["conv2"]["kernel"], kernel)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": "cnn"}, r"model\.pretrained.*resnet_50 only, and model\.name is 'cnn'"),
        ({"pretrained": "none.safetensors"}, r"model\.pretrained: there is no file .*none\.safe"),
    ],
)
def test_refused_with_the_config(folder, change, words):
    with pytest.raises(ValueError, match=words):
        settings(folder, **change)


def test_a_path_is_a_string(folder):
    with pytest.raises(ValueError, match=r"model\.pretrained must be text; got 3"):
        parse_config({"model": {"pretrained": 3}, "runs": [{"method": "ce"}]})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"pretrained": "weights.pth", "source": "absent.npz"}, "isn't a safetensors file"),
        (
            {"source": "gray.npz"},
            r"stem/kernel has shape \(7, 7, 3, 64\) in the file and \(7, 7, 1",
        ),
        (
            {"overrides": {"norm": "group"}},
            r"has shape \(64,\) in the file and none in the network",
        ),
    ],
)
def test_refused_before_training(folder, tmp_path, change, words):
    """The first one before the data are read, which are not there."""
    with pytest.raises(ValueError, match=rf"model\.pretrained: .*{words}"):
        make_setting(settings(folder, **change), tmp_path)
