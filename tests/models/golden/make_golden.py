"""Writes forwards.json: the networks' outputs, computed by definitions of our own in PyTorch.

Not run by the tests. Command (torch 2.13.0, CPU, fifteen seconds), from the root of the repository:

    pip install torch==2.13.0 numpy && python tests/models/golden/make_golden.py

Everything is float64. Each case holds the logits in evaluation mode (running statistics), in
training mode (batch statistics), and a digest of the batch mean and biased variance that every
BatchNorm met in training mode. Weights come from `golden_formula`; ResNet-50 uses torchvision's
names, the others those of the flax networks.
"""

import json
import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import golden_formula as formula


class Net(nn.Module):
    """Layers are made on first use, under a dotted name: the forward is the whole definition."""

    def __init__(self, run, eps=1e-5):
        super().__init__()
        self.run, self.eps, self.path, self.stats = run, eps, (), {}

    def _get(self, name, make):
        key = name.replace(".", "/")
        if key not in self._modules:
            layer = make().double()
            for k, v in layer.state_dict().items():
                if not k.endswith("num_batches_tracked"):
                    v.copy_(torch.from_numpy(formula.tensor(f"{name}.{k}", tuple(v.shape))))
            self.add_module(key, layer)
        return self._modules[key]

    def conv(self, x, name, out, k, stride=1, pad=None, bias=False):
        k = (k, k) if isinstance(k, int) else k
        pad = (k[0] // 2, k[1] // 2) if pad is None else pad
        return self._get(name, lambda: nn.Conv2d(x.shape[1], out, k, stride, pad, bias=bias))(x)

    def bn(self, x, name):
        layer = self._get(name, lambda: nn.BatchNorm2d(x.shape[1], eps=self.eps))
        if self.training:
            self.stats[name] = [
                formula.digest(name + ".mean", x.mean((0, 2, 3)).numpy()),
                formula.digest(name + ".var", x.var((0, 2, 3), unbiased=False).numpy()),
            ]
        return F.batch_norm(
            x,
            layer.running_mean.clone(),
            layer.running_var.clone(),
            layer.weight,
            layer.bias,
            training=self.training,
            eps=self.eps,
        )

    def linear(self, x, name, out):
        return self._get(name, lambda: nn.Linear(x.shape[1], out))(x)

    def forward(self, x):
        return self.run(self, x)


def wide_resnet(depth, width, classes):
    def run(net, x):
        x = net.conv(x, "stem", 16, 3)
        for s, planes in enumerate((16 * width, 32 * width, 64 * width)):
            for b in range((depth - 4) // 6):
                p, stride = f"stage{s + 1}_block{b}.", 2 if s and not b else 1
                a = F.relu(net.bn(x, p + "norm1"))
                if x.shape[1] != planes:
                    x = net.conv(a, p + "shortcut", planes, 1, stride)
                a = F.relu(net.bn(net.conv(a, p + "conv1", planes, 3, stride), p + "norm2"))
                x = x + net.conv(a, p + "conv2", planes, 3)
        x = F.relu(net.bn(x, "norm"))
        return net.linear(F.adaptive_avg_pool2d(x, 1).flatten(1), "head", classes)

    return Net(run)


def preact_resnet_18(classes):
    def run(net, x):
        x = F.relu(net.bn(net.conv(x, "stem", 64, 3), "stem_norm"))
        for s, planes in enumerate((64, 128, 256, 512)):
            for b in range(2):
                p, stride = f"stage{s + 1}_block{b}.", 2 if s and not b else 1
                x = F.relu(net.bn(x, p + "norm1"))
                y = F.relu(net.bn(net.conv(x, p + "conv1", planes, 3, stride), p + "norm2"))
                y = net.conv(y, p + "conv2", planes, 3)
                x = y + (net.conv(x, p + "shortcut", planes, 1, stride) if stride == 2 else x)
        return net.linear(F.adaptive_avg_pool2d(x, 1).flatten(1), "head", classes)

    return Net(run)


def resnet_32(classes):
    def run(net, x):
        x = F.relu(net.bn(net.conv(x, "stem", 16, 3), "stem_norm"))
        for s, planes in enumerate((16, 32, 64)):
            for b in range(5):
                p, stride = f"stage{s + 1}_block{b}.", 2 if s and not b else 1
                y = F.relu(net.bn(net.conv(x, p + "conv1", planes, 3, stride), p + "norm1"))
                y = net.bn(net.conv(y, p + "conv2", planes, 3), p + "norm2")
                if stride == 2:
                    zeros = torch.zeros_like(x[:, : planes // 4, ::2, ::2])
                    x = torch.cat([zeros, x[:, :, ::2, ::2], zeros], 1)
                x = F.relu(x + y)
        return net.linear(F.adaptive_avg_pool2d(x, 1).flatten(1), "head", classes)

    return Net(run)


def resnet_50(classes):
    def run(net, x):
        x = F.relu(net.bn(net.conv(x, "conv1", 64, 7, 2), "bn1"))
        x = F.max_pool2d(x, 3, 2, 1)
        for s, blocks in enumerate((3, 4, 6, 3)):
            for b in range(blocks):
                p, planes, stride = f"layer{s + 1}.{b}.", 64 << s, 2 if s and not b else 1
                y = F.relu(net.bn(net.conv(x, p + "conv1", planes, 1), p + "bn1"))
                y = F.relu(net.bn(net.conv(y, p + "conv2", planes, 3, stride), p + "bn2"))
                y = net.bn(net.conv(y, p + "conv3", 4 * planes, 1), p + "bn3")
                if not b:
                    x = net.conv(x, p + "downsample.0", 4 * planes, 1, stride)
                    x = net.bn(x, p + "downsample.1")
                x = F.relu(x + y)
        return net.linear(x.mean((2, 3)), "fc", classes)

    return Net(run)


def inception_resnet_v2(repeats, classes):
    def branch(net, x, path, *units):
        for i, (out, k, *rest) in enumerate(units):
            stride, pad = (rest[0], (0, 0)) if rest else (1, None)
            x = F.relu(
                net.bn(net.conv(x, f"{path}.conv{i}", out, k, stride, pad), f"{path}.norm{i}")
            )
        return x

    def block(net, x, path, scale, *branches, relu=True):
        y = [branch(net, x, f"{path}.branches.branch{i}", *u) for i, u in enumerate(branches)]
        y = net.conv(torch.cat(y, 1), path + ".project", x.shape[1], 1, bias=True)
        return F.relu(x + scale * y) if relu else x + scale * y

    def run(net, x):
        x = branch(net, x, "stem_a", (32, 3, 2), (32, 3, 1), (64, 3))
        x = branch(net, F.max_pool2d(x, 3, 2), "stem_b", (80, 1), (192, 3, 1))
        x = F.max_pool2d(x, 3, 2)
        pooled = F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
        x = torch.cat(
            [
                branch(net, x, "mixed_5b.branch0", (96, 1)),
                branch(net, x, "mixed_5b.branch1", (48, 1), (64, 5)),
                branch(net, x, "mixed_5b.branch2", (64, 1), (96, 3), (96, 3)),
                branch(net, pooled, "mixed_5b_pool", (64, 1)),
            ],
            1,
        )
        for i in range(repeats[0]):
            b = [[(32, 1)], [(32, 1), (32, 3)], [(32, 1), (48, 3), (64, 3)]]
            x = block(net, x, f"block35_{i}", 0.17, *b)
        x = torch.cat(
            [
                branch(net, x, "mixed_6a.branch0", (384, 3, 2)),
                branch(net, x, "mixed_6a.branch1", (256, 1), (256, 3), (384, 3, 2)),
                F.max_pool2d(x, 3, 2),
            ],
            1,
        )
        for i in range(repeats[1]):
            b = [[(192, 1)], [(128, 1), (160, (1, 7)), (192, (7, 1))]]
            x = block(net, x, f"block17_{i}", 0.1, *b)
        x = torch.cat(
            [
                branch(net, x, "mixed_7a.branch0", (256, 1), (384, 3, 2)),
                branch(net, x, "mixed_7a.branch1", (256, 1), (288, 3, 2)),
                branch(net, x, "mixed_7a.branch2", (256, 1), (288, 3), (320, 3, 2)),
                F.max_pool2d(x, 3, 2),
            ],
            1,
        )
        for i in range(repeats[2]):
            b, last = [[(192, 1)], [(192, 1), (224, (1, 3)), (256, (3, 1))]], i == repeats[2] - 1
            x = block(net, x, f"block8_{i}", 1.0 if last else 0.2, *b, relu=not last)
        x = branch(net, x, "top", (1536, 1))
        return net.linear(F.adaptive_avg_pool2d(x, 1).flatten(1), "head", classes)

    return Net(run, eps=1e-3)


# Name in build_model, overrides there, image shape, classes, the network here.
CASES = {
    "wrn_40_2": ("wrn_40_2", {}, (3, 16, 16, 3), 10, wide_resnet(40, 2, 10)),
    "wrn_28_10": ("wrn_28_10", {}, (3, 8, 8, 3), 10, wide_resnet(28, 10, 10)),
    "preact_resnet_18": ("preact_resnet_18", {}, (3, 16, 16, 3), 10, preact_resnet_18(10)),
    "resnet_32": ("resnet_32", {}, (3, 16, 16, 3), 10, resnet_32(10)),
    "resnet_50": ("resnet_50", {}, (2, 48, 48, 3), 1000, resnet_50(1000)),
    "inception_short": (
        "inception_resnet_v2",
        {"repeats": [1, 1, 2]},
        (2, 107, 107, 3),
        10,
        inception_resnet_v2((1, 1, 2), 10),
    ),
    "inception_resnet_v2": (
        "inception_resnet_v2",
        {},
        (2, 107, 107, 3),
        10,
        inception_resnet_v2((10, 20, 10), 10),
    ),
}


@torch.no_grad()
def main():
    golden = {}
    for case, (model, overrides, shape, classes, net) in CASES.items():
        x = torch.from_numpy(formula.images(shape)).permute(0, 3, 1, 2)
        record = {"model": model, "overrides": overrides, "shape": shape, "num_classes": classes}
        for mode in ("eval", "train"):
            logits = net.train(mode == "train")(x).numpy()
            record[mode] = logits[:, :10].tolist()
            record[mode + "_digest"] = formula.digest("logits", logits)
        record["statistics"] = net.stats
        record["parameters"] = sum(p.numel() for p in net.parameters())
        golden[case] = record
        print(case, record["parameters"], abs(logits).max())
    lines = ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in golden.items())
    text = f'{{"torch": "{torch.__version__}", "cases": {{\n{lines}\n}}}}\n'
    Path(__file__).with_name("forwards.json").write_text(text)


if __name__ == "__main__":
    main()
