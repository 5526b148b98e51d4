"""Flax Linen networks: logits only, the norm and the dtype are arguments.

Every network is called as `module.apply(variables, images, train=bool)` with floating-point
images `[n, H, W, C]` and returns logits `[n, num_classes]`.

    build        networks by name
    simple       a multilayer perceptron, a small convolutional network
    wide_resnet, preact_resnet, cifar_resnet, resnet, and their blocks
    inception_resnet_v2, efficientnet_lite
    layers       what every network shares: initializers, norms, the head
    pretrained   ImageNet weights of ResNet-50 from a file
    pretrained_efficientnet   those of EfficientNet-Lite0 from a package
    folded_efficientnet       its features, quickly on a CPU
    from_torch, torch_file, torch_pickle   PyTorch's names; its files, read without it
"""

from famus_jax.models.build import MODELS, build_model
from famus_jax.models.cifar_resnet import CifarResNet
from famus_jax.models.efficientnet_lite import EfficientNetLite0
from famus_jax.models.inception_resnet_v2 import InceptionResNetV2
from famus_jax.models.preact_resnet import PreActResNet18
from famus_jax.models.resnet import ResNet34, ResNet50
from famus_jax.models.simple import MLP, SmallCNN
from famus_jax.models.wide_resnet import WideResNet

__all__ = [
    "MLP",
    "MODELS",
    "CifarResNet",
    "EfficientNetLite0",
    "InceptionResNetV2",
    "PreActResNet18",
    "ResNet34",
    "ResNet50",
    "SmallCNN",
    "WideResNet",
    "build_model",
]
