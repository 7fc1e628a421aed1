"""What the names of torch, and of libraries around it, mean to the interpreter."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

# One name for an operation, whether it is written as a function, a method or a module.
_ALIASES: Final[Mapping[str, str]] = {
    "Softmax": "softmax",
    "Softmax2d": "softmax",
    "Softmin": "softmin",
    "LogSoftmax": "log_softmax",
    "Sigmoid": "sigmoid",
    "LogSigmoid": "logsigmoid",
    "sigmoid_": "sigmoid",
    "expit": "sigmoid",
    "Tanh": "tanh",
    "ReLU": "relu",
    "CrossEntropyLoss": "cross_entropy",
    "NLLLoss": "nll_loss",
    "BCELoss": "bce",
    "binary_cross_entropy": "bce",
    "BCEWithLogitsLoss": "bce_with_logits",
    "binary_cross_entropy_with_logits": "bce_with_logits",
    "KLDivLoss": "kl_div",
    "MSELoss": "mse_loss",
    "L1Loss": "l1_loss",
    "SmoothL1Loss": "smooth_l1_loss",
    "HuberLoss": "huber_loss",
    "CTCLoss": "ctc_loss",
    "PoissonNLLLoss": "poisson_nll_loss",
    "GaussianNLLLoss": "gaussian_nll_loss",
    "HingeEmbeddingLoss": "hinge_embedding_loss",
    "MarginRankingLoss": "margin_ranking_loss",
    "MultiLabelMarginLoss": "multilabel_margin_loss",
    "MultiLabelSoftMarginLoss": "multilabel_soft_margin_loss",
    "MultiMarginLoss": "multi_margin_loss",
    "SoftMarginLoss": "soft_margin_loss",
    "CosineEmbeddingLoss": "cosine_embedding_loss",
    "TripletMarginLoss": "triplet_margin_loss",
    "Dropout": "dropout",
    "Flatten": "flatten",
    "Identity": "identity",
    "Linear": "linear",
    # `item` is a part of a value: a subscript, an element of a loop.
    "item": "item()",
}
LOSSES: Final = frozenset(
    """cross_entropy nll_loss bce bce_with_logits kl_div mse_loss l1_loss smooth_l1_loss huber_loss
    ctc_loss poisson_nll_loss gaussian_nll_loss hinge_embedding_loss margin_ranking_loss
    multilabel_margin_loss multilabel_soft_margin_loss multi_margin_loss soft_margin_loss
    cosine_embedding_loss triplet_margin_loss""".split()
)
# Parameters of the losses, in order, as torch.nn.functional has them.
LOSS_PARAMETERS: Final = ("input", "target", "weight")
# Modules of torch.nn that own no parameters, but for containers.
PARAMETERLESS: Final = frozenset(
    """ReLU ReLU6 LeakyReLU ELU SELU CELU GELU SiLU Mish Tanh Sigmoid Softplus Softsign Softmax
    Softmax2d LogSoftmax LogSigmoid Hardtanh Hardswish Hardsigmoid GLU Threshold Dropout Dropout1d
    Dropout2d Dropout3d AlphaDropout FeatureAlphaDropout Flatten Unflatten Identity MaxPool1d
    MaxPool2d MaxPool3d AvgPool1d AvgPool2d AvgPool3d AdaptiveAvgPool1d AdaptiveAvgPool2d
    AdaptiveAvgPool3d AdaptiveMaxPool1d AdaptiveMaxPool2d AdaptiveMaxPool3d LPPool1d LPPool2d
    ZeroPad1d ZeroPad2d ReflectionPad1d ReflectionPad2d ReplicationPad1d ReplicationPad2d
    ConstantPad1d ConstantPad2d Upsample UpsamplingNearest2d UpsamplingBilinear2d PixelShuffle
    PixelUnshuffle Fold Unfold ChannelShuffle CosineSimilarity PairwiseDistance
    LocalResponseNorm""".split()
)
CONTAINERS: Final = frozenset({"Sequential", "ModuleList", "ModuleDict"})
# Modules whose behaviour differs between training and evaluation.
MODE_SENSITIVE: Final = frozenset(
    """Dropout Dropout1d Dropout2d Dropout3d AlphaDropout FeatureAlphaDropout BatchNorm1d
    BatchNorm2d BatchNorm3d SyncBatchNorm LazyBatchNorm1d LazyBatchNorm2d LazyBatchNorm3d
    TransformerEncoderLayer TransformerDecoderLayer TransformerEncoder TransformerDecoder
    Transformer MultiheadAttention
    RReLU""".split()
)
WRAPPERS: Final[Mapping[str, str]] = {
    "DataParallel": "shares",
    "DistributedDataParallel": "shares",
    "DDP": "shares",
    "FullyShardedDataParallel": "replaces",
    "FSDP": "replaces",
    "AveragedModel": "copies",
    "OptimizedModule": "shares",
}
# Paths of optimizers outside of torch, by their beginnings.
_OPTIMIZERS: Final = (
    "transformers.optimization.",
    "bitsandbytes.optim.",
    "apex.optimizers.",
    "deepspeed.ops.adam.",
    "deepspeed.ops.lamb.",
    "timm.optim.",
    "torch_optimizer.",
    "pytorch_optimizer.",
)
_OPTIMIZER_NAMES: Final = frozenset(
    """transformers.AdamW transformers.Adafactor lion_pytorch.Lion prodigyopt.Prodigy
    adabelief_pytorch.AdaBelief schedulefree.AdamWScheduleFree""".split()
)
# Classes of models of the libraries around the hub, and what makes one with its weights.
_HUB_MODEL: Final = re.compile(
    r"\.(?!DataCollator|TF[A-Z]|Flax)\w*(?:Model|[a-z]For[A-Z]\w*)(?:\.from_(?:pretrained|config))?$"
    r"|^timm\.(?:models\.)?create_model$"
)
# Models of libraries that have dropout or running statistics unless they are told otherwise.
_SENSITIVE_MODEL: Final = re.compile(
    r"^torchvision\.models\.(?!.*detection)(?:\w+\.)*"
    r"(?:wide_)?(?:resnet|resnext|densenet|mobilenet|efficientnet|vgg|alexnet|inception|googlenet"
    r"|squeezenet|shufflenet|mnasnet|regnet|convnext)\w*$"
    r"|^transformers\.(?:\w+\.)*(?:Distil)?(?:Bert|Roberta|XLMRoberta|Albert|Electra|Deberta|GPT2"
    r"|T5|Bart|MBart|Camembert|XLNet|Wav2Vec2)[A-Z]\w*(?:\.from_pretrained|\.from_config)?$",
    re.IGNORECASE,
)
# Libraries that look at what they are given, and change nothing that is trained.
HARMLESS: Final = frozenset(
    """torch torchvision torchaudio numpy math random os sys time json logging pathlib tqdm copy
    matplotlib sklearn scipy wandb tensorboard tensorboardX collections itertools functools
    argparse pickle warnings typing dataclasses datetime shutil pandas PIL cv2 rich yaml re io gc
    string operator statistics contextlib torchinfo torchsummary torchmetrics evaluate einops
    mlflow csv glob psutil tabulate""".split()
)
REGIONS: Final[Mapping[str, str]] = {
    "torch.no_grad": "no_grad",
    "torch.autograd.no_grad": "no_grad",
    "torch.autograd.grad_mode.no_grad": "no_grad",
    "torch.inference_mode": "inference_mode",
    "torch.autograd.inference_mode": "inference_mode",
    "torch.enable_grad": "enable_grad",
    "torch.autograd.enable_grad": "enable_grad",
    "torch.set_grad_enabled": "set_grad_enabled",
    "torch.autograd.set_grad_enabled": "set_grad_enabled",
    "torch.autocast": "autocast",
    "torch.amp.autocast": "autocast",
    "torch.cuda.amp.autocast": "autocast",
    "torch.cpu.amp.autocast": "autocast",
    "torch.random.fork_rng": "fork_rng",
}
# Operations that keep what a value means, and only change how it lies in memory.
SHAPE: Final = frozenset(
    """view reshape squeeze unsqueeze flatten permute transpose contiguous expand expand_as view_as
    t T float double half bfloat16 to cuda cpu type type_as clone identity unflatten swapaxes
    movedim item repeat forward dropout narrow select chunk split unbind stack cat concat
    concatenate mT H rearrange attr:T attr:logits requires_grad_ retain_grad""".split()
)
# Comparisons as they are written between values.
COMPARED: Final = frozenset("< <= > >= == !=".split())
# Operations through which no gradient flows.
CUTS: Final = COMPARED | frozenset(
    """detach detach_ item() numpy tolist attr:data argmax argmin argsort compare not and or tensor
    as_tensor from_numpy long int bool byte short round floor ceil sign eq ne gt lt ge le
    zeros_like ones_like full_like rand_like randn_like empty_like attr:shape attr:device
    attr:dtype size dim numel len one_hot randint bernoulli multinomial attr:grad float_ int_
    Tensor LongTensor FloatTensor new_tensor new_zeros new_ones bincount unique""".split()
)


def canonical(path: str) -> str:
    """The operation behind a dotted path of torch; the path itself for any other library."""
    if path.startswith("torch.") or path == "torch":
        last = path.rpartition(".")[2]
        return _ALIASES.get(last, last)
    return path


def method_operation(name: str) -> str:
    """The operation behind a method of a tensor."""
    return _ALIASES.get(name, name)


def role_of(path: str) -> str:
    """What an instance of a library's class is to training, or ''."""
    last = path.rpartition(".")[2]
    if path.startswith("torch.optim.lr_scheduler.") or last in ("SWALR", "LRScheduler"):
        return "scheduler"
    if is_optimizer(path, last):
        return "optimizer"
    if path.startswith(("torch.nn.", "torch.ao.nn.")):
        return _module_role(last)
    if last in WRAPPERS and path.startswith(("torch.", "apex.", "fairscale.")):
        return "model"
    if path.startswith("torch."):
        return _data_role(last)
    return _library_role(path, last)


def is_sensitive(path: str) -> bool:
    """Whether a library's module does something else in eval mode, as far as its name tells."""
    of_torch = path.rpartition(".")[2] in MODE_SENSITIVE
    return of_torch or _SENSITIVE_MODEL.match(path) is not None


def is_optimizer(path: str, last: str) -> bool:
    """Whether a dotted path names a class of optimizers."""
    if path.startswith("torch.optim."):
        return last[:1].isupper() and last not in ("AveragedModel", "SWALR")
    return path in _OPTIMIZER_NAMES or (path.startswith(_OPTIMIZERS) and last[:1].isupper())


def _module_role(last: str) -> str:
    if last in ("Parameter", "Buffer", "UninitializedParameter"):
        return ""
    if canonical(f"torch.{last}") in LOSSES or last.endswith("Loss"):
        return "loss"
    if last in ("ParameterList", "ParameterDict"):
        return ""
    return "model" if last[:1].isupper() and last != "PackedSequence" else ""


def _data_role(last: str) -> str:
    if last == "GradScaler":
        return "scaler"
    if last == "DataLoader":
        return "loader"
    if last.endswith("Sampler"):
        return "sampler"
    return "dataset" if last.endswith("Dataset") or last == "Subset" else ""


def _library_role(path: str, last: str) -> str:
    root = path.partition(".")[0]
    if root in ("accelerate",) and last == "Accelerator":
        return "engine"
    if root in ("lightning", "pytorch_lightning", "lightning_fabric"):
        if last == "Fabric":
            return "engine"
        return "model" if last == "LightningModule" else ""
    if root == "torchvision" and ".datasets." in path and last[:1].isupper():
        return "dataset"
    if root == "torchvision" and ".models." in path:
        return "model"
    if root == "transformers" and last.startswith("get_") and "schedule" in last:
        return "scheduler"
    if root in ("transformers", "diffusers", "timm", "peft") and _HUB_MODEL.search(path):
        return "model"
    return ""
