"""Train a small CNN; prints the median time of a step. Usage: cnn.py CHANNELS BATCH STEPS."""

import statistics
import sys
import time

import torch
from torch import nn

channels, batch, steps = (int(word) for word in sys.argv[1:4])
torch.set_num_threads(1)
torch.manual_seed(0)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, channels, 3, padding=1),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, 2 * channels, 3, padding=1),
            nn.BatchNorm2d(2 * channels),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(4),
        )
        self.dropout = nn.Dropout(0.1)
        self.head = nn.Linear(32 * channels, 10)

    def forward(self, images):
        return self.head(self.dropout(self.features(images).flatten(1)))


model = Net()
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
images, labels = torch.randn(batch, 1, 16, 16), torch.randint(0, 10, (batch,))
times = []
model.train()
for _ in range(steps):
    start = time.perf_counter()
    optimizer.zero_grad()
    loss = nn.functional.cross_entropy(model(images), labels)
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    times.append(time.perf_counter() - start)
print(f"STEP {statistics.median(times[steps // 10 :]):.9f}")
