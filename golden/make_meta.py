"""Golden values of meta-learning from PyTorch, written to meta.safetensors.

    python golden/make_meta.py [RELATION_WEIGHTS]

MAML: the exact outer gradient (create_graph=True) of two inner steps on a small strided network with
batch normalisation by the batch's statistics, in 64 bits.
Relation Networks: scores of an episode by the published weights (5-way 1-shot), statistics of each batch
as in the authors' code. RELATION_WEIGHTS is the folder of LearningToCompare_FSL's Omniglot pickles.
"""

import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

torch.manual_seed(5)
out = {}

# --- MAML -------------------------------------------------------------------------------------------
WAYS, WIDTH, STEPS, RATE = 3, 4, 2, 0.2
support = torch.rand(WAYS * 2, 1, 12, 12)
query = torch.rand(WAYS * 3, 1, 12, 12)
support_labels = torch.arange(WAYS).repeat_interleave(2)
query_labels = torch.arange(WAYS).repeat_interleave(3)
weights = []
inside = 1
for _ in range(2):
    weights += [0.5 * torch.randn(WIDTH, inside, 3, 3), 1 + 0.2 * torch.randn(WIDTH), 0.3 * torch.randn(WIDTH)]
    inside = WIDTH
weights += [0.5 * torch.randn(WIDTH, WAYS), 0.1 * torch.randn(WAYS)]


def forward(images, weights):
    for block in range(2):
        weight, gamma, beta = weights[3 * block : 3 * block + 3]
        images = F.conv2d(images, weight, stride=2, padding=1)
        images = F.relu(F.batch_norm(images, None, None, gamma, beta, training=True, eps=1e-5))
    return images.mean((2, 3)) @ weights[-2] + weights[-1]


start = [w.double().requires_grad_() for w in weights]
for name, steps in (("second", True), ("first", False)):
    now = start
    for _ in range(STEPS):
        loss = F.cross_entropy(forward(support.double(), now), support_labels)
        gradients = torch.autograd.grad(loss, now, create_graph=steps)
        now = [w - RATE * g for w, g in zip(now, gradients)]
    loss = F.cross_entropy(forward(query.double(), now), query_labels)
    for index, gradient in enumerate(torch.autograd.grad(loss, start)):
        out[f"maml.{name}.{index}"] = gradient.float().contiguous()
out["maml.loss"] = loss.detach().float().reshape(1)
out["maml.support"], out["maml.query"] = support, query
for index, weight in enumerate(weights):
    out[f"maml.weight.{index}"] = weight.contiguous()

# --- Relation Networks ------------------------------------------------------------------------------
if len(sys.argv) > 1:
    folder = Path(sys.argv[1])
    encoder = torch.load(folder / "omniglot_feature_encoder_5way_1shot.pkl", map_location="cpu", weights_only=True)
    relation = torch.load(folder / "omniglot_relation_network_5way_1shot.pkl", map_location="cpu", weights_only=True)

    def block(x, state, name, padding, pool):
        x = F.conv2d(x, state[f"{name}.0.weight"], state[f"{name}.0.bias"], padding=padding)
        x = F.relu(F.batch_norm(x, None, None, state[f"{name}.1.weight"], state[f"{name}.1.bias"], training=True))
        return F.max_pool2d(x, 2) if pool else x

    def maps(x):
        for name, padding, pool in (("layer1", 0, True), ("layer2", 0, True), ("layer3", 1, False), ("layer4", 1, False)):
            x = block(x, encoder, name, padding, pool)
        return x

    with torch.no_grad():
        support = (torch.rand(5, 1, 28, 28) > 0.1).float()
        query = (torch.rand(15, 1, 28, 28) > 0.1).float()
        normal = lambda x: (x - 0.92206) / 0.08426
        classes, queries = maps(normal(support)), maps(normal(query))
        pairs = torch.cat([classes.expand(15, 5, 64, 5, 5), queries[:, None].expand(15, 5, 64, 5, 5)], 2)
        x = pairs.reshape(75, 128, 5, 5)
        for name in ("layer1", "layer2"):
            x = block(x, relation, name, 1, True)
        x = F.relu(F.linear(x.flatten(1), relation["fc1.weight"], relation["fc1.bias"]))
        scores = torch.sigmoid(F.linear(x, relation["fc2.weight"], relation["fc2.bias"])).reshape(15, 5)
    out["relation.support"], out["relation.query"], out["relation.scores"] = support, query, scores

save_file(out, Path(__file__).parent / "meta.safetensors")
print({name: tuple(value.shape) for name, value in out.items()})
