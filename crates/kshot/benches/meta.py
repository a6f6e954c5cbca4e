"""A step of second-order MAML, or of Prototypical Networks, in PyTorch: seconds and peak memory.

    pip install torch
    python crates/kshot/benches/meta.py maml --steps 5 --meta-batch 4
    python crates/kshot/benches/meta.py prototypical --ways 60 --queries 5

The same work in kshot, in turns with it:

    kshot train recipes/omniglot/maml-5way-1shot.toml --dry-run --set method.steps=5 \\
        --set train.batch=4 --set train.episodes.queries=15 --set method.learn_rates=false
    kshot train recipes/omniglot/prototypical-networks.toml --dry-run

conv4 with 64 channels, batch normalisation and max-pooling on 28x28 drawings; MAML keeps the graph of the
inner steps (create_graph=True), which is how PyTorch computes second order. The optimiser's step is left
out of both.
"""

import argparse
import resource
import statistics
import time

import torch
import torch.nn.functional as F

WIDTH = 64


def parameters(ways: int | None) -> list[torch.Tensor]:
    weights, inside = [], 1
    for _ in range(4):
        weights += [torch.randn(WIDTH, inside, 3, 3) * 0.05, torch.ones(WIDTH), torch.zeros(WIDTH)]
        inside = WIDTH
    if ways:
        weights += [torch.randn(ways, WIDTH) * 0.05, torch.zeros(ways)]
    return [weight.requires_grad_() for weight in weights]


def embed(images: torch.Tensor, weights: list[torch.Tensor]) -> torch.Tensor:
    for block in range(4):
        kernel, gain, shift = weights[3 * block : 3 * block + 3]
        images = F.conv2d(images, kernel, padding=1)
        images = F.relu(F.batch_norm(images, None, None, gain, shift, training=True))
        images = F.max_pool2d(images, 2)
    return images.flatten(1)


def maml(arguments: argparse.Namespace, weights: list[torch.Tensor]) -> None:
    labels = torch.arange(arguments.ways)
    queries = labels.repeat_interleave(arguments.queries)
    for _ in range(arguments.meta_batch):
        support = torch.rand(arguments.ways, 1, 28, 28)
        query = torch.rand(arguments.ways * arguments.queries, 1, 28, 28)
        fast = weights
        for _ in range(arguments.steps):
            loss = F.cross_entropy(F.linear(embed(support, fast), *fast[-2:]), labels)
            gradients = torch.autograd.grad(loss, fast, create_graph=True)
            fast = [weight - 0.4 * gradient for weight, gradient in zip(fast, gradients)]
        loss = F.cross_entropy(F.linear(embed(query, fast), *fast[-2:]), queries)
        (loss / arguments.meta_batch).backward()


def prototypical(arguments: argparse.Namespace, weights: list[torch.Tensor]) -> None:
    ways = arguments.ways
    images = torch.rand(ways * (1 + arguments.queries), 1, 28, 28)
    vectors = embed(images, weights)
    distances = torch.cdist(vectors[ways:], vectors[:ways]).square()
    F.cross_entropy(-distances, torch.arange(ways).repeat_interleave(arguments.queries)).backward()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("method", choices=["maml", "prototypical"])
    parser.add_argument("--ways", type=int, default=5)
    parser.add_argument("--queries", type=int, default=15)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--meta-batch", type=int, default=4)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    weights = parameters(arguments.ways if arguments.method == "maml" else None)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds = []
    for _ in range(12):
        for weight in weights:
            weight.grad = None
        started = time.perf_counter()
        {"maml": maml, "prototypical": prototypical}[arguments.method](arguments, weights)
        seconds.append(time.perf_counter() - started)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(
        f"a step takes {statistics.median(seconds[2:]):.3f} s; peak memory {after / 1e3:.0f} MB, "
        f"{(after - before) / 1e3:.0f} MB above the start"
    )


if __name__ == "__main__":
    main()
