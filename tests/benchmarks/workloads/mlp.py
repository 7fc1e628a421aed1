"""Train an MLP on digits; prints the median time of a step. Usage: mlp.py WIDTH BATCH STEPS."""

import statistics
import sys
import time

import torch
from torch import nn

width, batch, steps = (int(word) for word in sys.argv[1:4])
torch.set_num_threads(1)
torch.manual_seed(0)
model = nn.Sequential(
    nn.Linear(64, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 10)
)
optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
criterion = nn.CrossEntropyLoss()
inputs, labels = torch.randn(batch, 64), torch.randint(0, 10, (batch,))
times = []
for _ in range(steps):
    start = time.perf_counter()
    optimizer.zero_grad()
    loss = criterion(model(inputs), labels)
    loss.backward()
    optimizer.step()
    times.append(time.perf_counter() - start)
print(f"STEP {statistics.median(times[steps // 10 :]):.9f}")
