"""What happens in training only: stochastic depth, dropout, frozen parts, checkpointed activations, low precision."""

import pytest
import torch
from fairseq import models
from fairseq.dataclass.configs import DistributedTrainingConfig
from fairseq.models import distributed_fairseq_model
from timm.layers import DropPath

from ofa_mi.models.image_tower import build_image_tower
from tests.golden.cases import build_model
from tests.models.helpers import gradients, images, small_model, tokens


def run(model, batch=3, seed=0):
    """Log-probability of some token, and its gradients, for a batch in which one sample has no image."""
    torch.manual_seed(seed)
    model.zero_grad()
    masks = torch.arange(batch) != 1
    logits, _ = model(tokens(batch, 6, padded=1), None, tokens(batch, 4, seed=1), images(batch), masks)
    loss = logits.float().log_softmax(-1)[..., 7].sum()
    loss.backward()
    return loss.item(), gradients(model)


@pytest.mark.parametrize("freeze_resnet", [False, True])
def test_checkpointed_activations_change_nothing(freeze_resnet):
    flags = {
        "dropout": 0.2,
        "attention_dropout": 0.1,
        "activation_dropout": 0.1,
        "encoder_drop_path_rate": 0.3,
        "decoder_drop_path_rate": 0.3,
        "freeze_resnet": freeze_resnet,
    }
    plain, checkpointed = small_model(**flags), small_model(**flags, checkpoint_activations=True)
    (loss, expected), (other_loss, actual) = run(plain), run(checkpointed)
    assert loss == pytest.approx(other_loss, rel=1e-6)
    assert actual.keys() == expected.keys()
    for name in expected:
        torch.testing.assert_close(actual[name], expected[name], rtol=1e-4, atol=1e-5, msg=name)
    for (name, a), b in zip(plain.named_buffers(), checkpointed.buffers(), strict=True):
        assert a.equal(b), f"{name}: the recomputation updated it again"


@pytest.mark.parametrize("freeze", [False, True])
def test_what_batch_norm_and_relu_put_out_is_computed_again(freeze):
    """Gradients and statistics are those of timm's block; less is kept for them."""
    torch.manual_seed(0)
    tower = build_image_tower("resnet50", freeze=freeze, drop_path_rate=0.0).train()
    start = {name: value.clone() for name, value in tower.state_dict().items()}
    kept, results = [], []
    for recompute in (True, False):
        tower.load_state_dict(start)
        tower.zero_grad()
        for block in (block for stage in (tower.layer1, tower.layer2, tower.layer3) for block in stage):
            block.recompute = recompute
        storages = {}

        def keep(tensor, storages=storages):
            storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            out = tower(images(2, 64))
        kept.append(sum(storages.values()))
        out.square().mean().backward()
        results.append((out, *[p.grad for p in tower.parameters() if p.grad is not None], *tower.buffers()))
        results[-1] = [value.detach().clone() for value in results[-1]]
    for found, expected in zip(*results, strict=True):
        assert found.equal(expected)
    assert kept[0] < 0.9 * kept[1]


def test_freeze_resnet_keeps_statistics_and_affine_maps():
    model = small_model(freeze_resnet=True)
    before = {name: value.clone() for name, value in model.encoder.embed_images.state_dict().items()}
    model.train()
    _, found = run(model)
    after = model.encoder.embed_images.state_dict()
    assert all(after[name].equal(before[name]) for name in before)
    assert not any(".bn" in name or "downsample.1" in name for name in found)
    assert "encoder.embed_images.layer1.0.conv1.weight" in found  # the convolutions learn


def test_batch_norm_trains_without_freeze_resnet():
    model = small_model()
    before = model.encoder.embed_images.bn1.running_mean.clone()
    _, found = run(model)
    assert not model.encoder.embed_images.bn1.running_mean.equal(before)
    assert "encoder.embed_images.bn1.weight" in found


def test_freezing_the_embedding():
    _, found = run(small_model(freeze_encoder_embedding=True))
    assert not any("embed_tokens" in name for name in found)


def test_drop_path_rates_rise_linearly():
    with torch.device("meta"):
        model = small_model(
            encoder_layers=5, encoder_drop_path_rate=0.2, decoder_drop_path_rate=0.1, resnet_type="resnet50"
        )
    assert [layer.drop_path.drop_prob for layer in model.encoder.layers] == pytest.approx([0, 0.05, 0.1, 0.15, 0.2])
    assert [layer.drop_path.drop_prob for layer in model.decoder.layers] == pytest.approx([0, 0.1])


def test_resnet_drop_path_rates_rise_within_each_stage():
    with torch.device("meta"):
        tower = small_model(resnet_type="resnet50", resnet_drop_path_rate=0.3).encoder.embed_images
    for stage in (tower.layer1, tower.layer2, tower.layer3):
        rates = [block.drop_path.drop_prob if block.drop_path else 0.0 for block in stage]
        assert rates == pytest.approx(torch.linspace(0, 0.3, len(stage)).tolist())


def test_drop_path_drops_whole_branches_per_sample_and_only_in_training():
    layer = small_model(encoder_layers=2, encoder_drop_path_rate=0.5).encoder.layers[1]
    assert isinstance(layer.drop_path, DropPath)
    x, bias = torch.randn(64, 5, 32), torch.zeros(4, 5, 5)
    torch.manual_seed(0)
    kept = (layer.train()(x, bias=bias, padding_mask=None) - x).flatten(1).ne(0).any(1)
    assert 0.5 < kept.float().mean() < 0.95  # both branches dropped with probability 1/4
    assert layer.eval()(x, bias=bias, padding_mask=None).sub(x).flatten(1).ne(0).any(1).all()


def test_drop_path_drops_all_three_branches_of_a_decoder_layer():
    layer = small_model(decoder_drop_path_rate=0.5).decoder.layers[1].train()
    torch.manual_seed(0)
    x, memory = torch.randn(256, 3, 32), torch.randn(256, 5, 32)
    biases = {"self_bias": torch.zeros(4, 3, 3), "cross_bias": torch.zeros(4, 3, 5)}
    kept = layer(x, memory, **biases, padding_mask=None, encoder_padding_mask=None).sub(x).flatten(1).ne(0).any(1)
    assert 0.8 < kept.float().mean() < 0.95  # all dropped with probability 1/8


@pytest.mark.parametrize("flag", ["dropout", "attention_dropout", "activation_dropout"])
def test_dropout_is_random_in_training_and_off_in_evaluation(flag):
    model = small_model(**{flag: 0.5})
    source, target = tokens(2, 6), tokens(2, 4)
    with torch.no_grad():
        assert not model(source, None, target)[0].equal(model(source, None, target)[0])
        model.eval()
        assert model(source, None, target)[0].equal(model(source, None, target)[0])


def test_scale_resids_scales_the_residual_of_the_feed_forward_part():
    layer = small_model(scale_resids=True).encoder.layers[0].eval()
    x = torch.randn(2, 5, 32)
    with torch.no_grad():
        branch = layer.feed_forward(x) - x
        layer.w_resid.copy_(torch.linspace(0.5, 1.5, 32))
        torch.testing.assert_close(layer.feed_forward(x), layer.w_resid * x + branch)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_low_precision_is_close_to_fp32(dtype):
    exact, low = small_model(), small_model().to(dtype)
    (loss, expected), (low_loss, actual) = run(exact), run(low)
    assert low_loss == pytest.approx(loss, rel=0.05)
    assert actual.keys() == expected.keys()
    for name in (
        "encoder.layers.0.fc1.weight",
        "encoder.token_rel_pos_table_list.0.weight",
        "decoder.layers.1.fc2.bias",
    ):
        a, b = actual[name].float().flatten(), expected[name].flatten()
        assert torch.nn.functional.cosine_similarity(a, b, dim=0) > 0.98, name


def test_autocast_is_close_to_fp32():
    model = small_model()
    loss, expected = run(model)
    with torch.autocast("cpu", torch.bfloat16):
        low_loss, actual = run(model)
    assert low_loss == pytest.approx(loss, rel=0.05)
    assert actual.keys() == expected.keys()


def test_a_few_updates_raise_the_log_probability():
    model = small_model()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2, maximize=True)  # of the log-probability
    scores = []
    for _ in range(4):
        scores.append(run(model)[0])
        optimizer.step()
    assert scores[-1] > scores[0]


@pytest.mark.parametrize(("arch", "std"), [("ofa_tiny", 0.02), ("ofa_nano", 0.08)])
def test_initialisation_is_berts_at_the_scale_of_the_size(arch, std):
    model = build_model(arch, 500)
    assert model.encoder.layers[0].fc1.weight.std().item() == pytest.approx(std, rel=0.05)
    assert model.encoder.embed_tokens.weight.std().item() == pytest.approx(std, rel=0.05)
    assert model.encoder.token_rel_pos_table_list[0].weight.std().item() == pytest.approx(0.02, rel=0.1)
    assert model.encoder.embed_tokens.weight[1].eq(0).all()
    assert model.encoder.layers[0].fc1.bias.eq(0).all()


def test_distributed_training_goes_on_after_a_batch_without_images(tmp_path, monkeypatch):
    """The image tower has no gradient then, and the parameters of image-code targets never have one."""
    ddp = distributed_fairseq_model.DistributedDataParallel  # fairseq names a device, which a CPU has not

    def on_cpu(module, **options):
        return ddp(module, **(options | {"device_ids": None, "output_device": None}))

    monkeypatch.setattr(distributed_fairseq_model, "DistributedDataParallel", on_cpu)
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    try:
        config = DistributedTrainingConfig(ddp_backend="pytorch_ddp", tpu=False)
        group, device = torch.distributed.group.WORLD, torch.device("cpu")
        model = models.DistributedFairseqModel(config, small_model(), group, device)
        for pictures in (images(2), None, images(2)):
            model(tokens(2, 6), None, tokens(2, 4), pictures)[0].sum().backward()
    finally:
        torch.distributed.destroy_process_group()
