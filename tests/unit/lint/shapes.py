"""Texts of programs in the shapes of real code, all of them right, or lacking their last part."""

from __future__ import annotations

from typing import Final

CHOSEN: Final = """\
    import torch
    import torch.nn.functional as F
    from torch import nn


    def weights_of(model):
        groups = [], []
        for module in model.modules():
            for name, weight in module.named_parameters(recurse=False):
                groups[name == "bias"].append(weight)
        return groups


    def train(args, loader):
        model = torch.hub.load(args.repository, args.model)
        weights, biases = weights_of(model)
        if args.optimizer == "adam":
            optimizer = torch.optim.Adam(weights, lr=args.rate)
        elif args.optimizer == "sgd":
            optimizer = torch.optim.SGD(weights, lr=args.rate)
        else:
            raise ValueError(args.optimizer)
        optimizer.add_param_group({"params": biases, "weight_decay": 0.0})
        scaler = torch.cuda.amp.GradScaler()
        for images, labels in loader:
            with torch.cuda.amp.autocast():
                loss = F.cross_entropy(model(images), labels)
            scaler.scale(loss).backward()
"""
CHOSEN_REST: Final = """\
            scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(model.parameters(), 10.0)
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad()
"""

COPIED: Final = """\
    import copy

    import torch
    import torch.nn.functional as F
    from torch import nn


    def compare(inputs, labels):
        first = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
        second = copy.deepcopy(first)
        one = torch.optim.Adam(first.parameters())
        two = torch.optim.Adam(second.parameters())
        for _ in range(10):
            F.cross_entropy(first(inputs), labels).backward()
            one.step()
            one.zero_grad()
            F.cross_entropy(second(inputs), labels).backward()
            two.step()
            two.zero_grad()
"""

SCHEDULED: Final = """\
    import torch
    import torch.nn.functional as F
    from library import download, make_model, make_optimizer
    from torch import nn


    def train(args, loader):
        loader = download(loader)
        model = make_model(args)
        optimizer = make_optimizer(model, args)
        scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, args.epochs)
        scaler = torch.cuda.amp.GradScaler()
        if args.parallel:
            model = download(model)
        for epoch in range(args.epochs):
            if args.weighted:
                download(model, loader)
            for images, labels in loader:
                with torch.cuda.amp.autocast():
                    loss = F.cross_entropy(model(images), labels)
                if args.check:
                    download(model)
                scaler.scale(loss).backward()
                scaler.unscale_(optimizer)
                nn.utils.clip_grad_norm_(model.parameters(), 10.0)
                scaler.step(optimizer)
                scaler.update()
                optimizer.zero_grad()
                if args.log:
                    download(model)
            scheduler.step()
"""

HANDED: Final = """\
    import torch
    import torch.nn.functional as F
    from torch import optim


    class Trainer:
        def __init__(self, epochs):
            self.epochs = epochs

        def warm_up(self, model, loader):
            optimizer = optim.AdamW(model.parameters(), lr=1e-3)
            scheduler = optim.lr_scheduler.CyclicLR(
                optimizer, base_lr=1e-4, max_lr=1e-3, cycle_momentum=False
            )
            self.fit(
                model, loader, optimizer, scheduler, note=self.epochs
            )

        def fit(self, model, loader, optimizer, scheduler, note):
            for epoch in range(self.epochs):
                for images, labels in loader:
                    optimizer.zero_grad()
                    loss = F.cross_entropy(model(images), labels)
                    loss.backward()
                    optimizer.step()
                    scheduler.step()
"""

ENGINE: Final = """\
    import torch
    from library import Engine


    def make_trainer(model, optimizer, criterion, lr_scheduler):
        def update(engine, batch):
            inputs, labels = batch
            model.train()
            loss = criterion(model(inputs), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            lr_scheduler.step()
            return loss.item()

        return Engine(update)
"""

TOGETHER: Final = """\
    import torch
    import torch.nn.functional as F
    from torch import nn


    def train(inputs, labels):
        first, second = nn.Linear(4, 2), nn.Linear(4, 2)
        one = torch.optim.Adam(first.parameters())
        two = torch.optim.Adam(second.parameters())
        for _ in range(10):
            one.zero_grad()
            two.zero_grad()
            F.cross_entropy(first(inputs), labels).backward()
            F.cross_entropy(second(inputs), labels).backward()
            one.step()
            two.step()
"""

OTHERS: Final = """

    def alone(model, inputs, labels):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(10):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(inputs), labels)
            loss.backward()
            print([weight.grad for weight in model.parameters()], inputs.grad)
            optimizer.step()
"""

MASKED: Final = """\
    import torch
    from torch import nn


    class Explainer:
        def __init__(self, epochs):
            self.epochs = epochs
            self.mask = None

        def explain(self, model, x, target):
            self.mask = nn.Parameter(torch.randn(x.shape[0], 1) * 0.1)
            optimizer = torch.optim.Adam([self.mask], lr=0.01)
            for _ in range(self.epochs):
                optimizer.zero_grad()
                loss = (model(x * self.mask.sigmoid()) - target).square().mean()
                loss.backward()
                optimizer.step()
                self.last = self.mask.grad.abs()
"""

CALLBACK: Final = """\
    import copy

    import torch


    class EarlyStopping:
        def __init__(self, patience=3):
            self.patience = patience
            self.best_weights = None
            self.best = float("inf")
            self.waited = 0

        def on_epoch_end(self, trainer, loss):
            if loss < self.best:
                self.best = loss
                self.waited = 0
                self.best_weights = copy.deepcopy(trainer.network.state_dict())
            else:
                self.waited += 1
            return self.waited < self.patience

        def on_train_end(self, trainer):
            if self.best_weights is not None:
                trainer.network.load_state_dict(self.best_weights)
"""

MADE: Final = """\
    import torch


    def fit(build, config, loader):
        model = build(config).to("cuda")
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
        for batch in loader:
            optimizer.zero_grad()
            loss = model(**batch).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
"""

NAMED: Final = """\
    from library import create_optimizer, get_schedule


    def fit(model, loader, loss_fn, environment):
        optimizer = create_optimizer(model)
        scheduler = get_schedule(optimizer)
        agent = environment.make()
        for inputs, labels in loader:
            optimizer.zero_grad()
            loss = loss_fn(model(inputs), labels)
            loss.backward()
            agent.step()
            optimizer.step()
            scheduler.step()
"""

SWITCHED: Final = """\
    import torch
    import torch.nn.functional as F
    from torch import nn


    class Block(nn.Module):
        def __init__(self, width, attention=False, dropout=0.1):
            super().__init__()
            self.attention = attention
            self.dropout = dropout
            self.mix = nn.Linear(width, width)

        def forward(self, x):
            x = self.mix(x)
            if self.attention:
                x = F.dropout(x.softmax(dim=-1), p=self.dropout, training=self.training)
            return x
"""

PART: Final = """\
    import torch
    import torch.nn.functional as F
    import torchvision


    def tune(loader):
        model = torchvision.models.resnet18()
        optimizer = torch.optim.Adam(model.fc.parameters(), lr=1e-2)
        for images, labels in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(images), labels).backward()
            optimizer.step()


    def tune_given(model, loader):
        optimizer = torch.optim.Adam(model.decoder.head.parameters(), lr=1e-2)
        for images, labels in loader:
            optimizer.zero_grad(set_to_none=True)
            F.cross_entropy(model(images), labels).backward()
            optimizer.step()


    class Trainer:
        def __init__(self, model):
            self.model = model
            self.optimizer = torch.optim.Adam(self.model.head.parameters())

        def fit(self, loader):
            for images, labels in loader:
                self.optimizer.zero_grad(set_to_none=True)
                F.cross_entropy(self.model(images), labels).backward()
                self.optimizer.step()
"""

REPEATED: Final = """\
    import torch
    from torch import nn


    class TSTiEncoderLayer(nn.Module):
        def __init__(self, width):
            super().__init__()
            self.mix = nn.Linear(width, width)

        def forward(self, x):
            return x + torch.relu(self.mix(x))


    class Encoder(nn.Module):
        def __init__(self, width, depth):
            super().__init__()
            self.layers = nn.ModuleList([TSTiEncoderLayer(width) for _ in range(depth)])

        def forward(self, x):
            for layer in self.layers:
                x = layer(x)
            return x


    def train(loader):
        model = Encoder(8, 3)
        optimizer = torch.optim.Adam(model.parameters())
        for inputs, labels in loader:
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(inputs), labels).backward()
            optimizer.step()
"""
