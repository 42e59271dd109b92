"""Sizes, dropouts and exactness of the networks."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F

from asr_rescore import models
from asr_rescore.config import EnsembleConfig, ModelConfig
from asr_rescore.errors import UsageError
from asr_rescore.models.dropout import embed_with_row_dropout, locked_dropout

PTB_TEACHER = ModelConfig(embedding=280, hidden=(960, 960, 620), experts=15)
PTB_STUDENT = ModelConfig(embedding=200, hidden=(480, 480, 300), experts=15)
WSJ_TEACHER = ModelConfig(embedding=900, hidden=(1150, 1150, 650), experts=7)
WSJ_STUDENT = ModelConfig(embedding=250, hidden=(250, 250, 250), experts=7)
SMALL = ModelConfig(embedding=6, hidden=(8, 7, 5), experts=3)
VOCABULARY = 11


def network(seed: int = 1, **dropouts: float) -> models.AwdLstmMos:
    torch.manual_seed(seed)
    config = ModelConfig(embedding=6, hidden=(8, 7, 5), experts=3, **dropouts)
    model = models.build(config, VOCABULARY).double()
    with torch.no_grad():  # larger weights than at the start of training, so that everything matters
        for parameter in model.parameters():
            parameter.mul_(3).add_(0.01)
    return model


def text(length: int = 9, batch: int = 4, seed: int = 5) -> torch.Tensor:
    return torch.randint(VOCABULARY, (length, batch), generator=torch.Generator().manual_seed(seed))


def log_probs(model: models.LanguageModel, ids: torch.Tensor) -> torch.Tensor:
    return model(ids, model.initial_state(ids.shape[1])).log_probs


@pytest.mark.parametrize(
    ("config", "vocabulary_size", "parameters"),
    [
        pytest.param(PTB_TEACHER, 10_000, 21_500_620, id="ptb-teacher"),
        pytest.param(PTB_STUDENT, 10_000, 7_012_380, id="ptb-student"),
        pytest.param(WSJ_TEACHER, 40_000, 64_859_450, id="wsj-teacher"),
        pytest.param(WSJ_STUDENT, 40_000, 11_987_000, id="wsj-student"),
    ],
)
def test_the_papers_four_sizes(config, vocabulary_size, parameters):
    with torch.device("meta"):
        assert models.build(config, vocabulary_size).num_parameters == parameters


def test_the_default_is_the_ptb_student():
    assert ModelConfig() == PTB_STUDENT


def test_initial_weights():
    torch.manual_seed(0)
    model = models.build(ModelConfig(), 2000)
    assert 0.0999 < model.embedding.max() <= 0.1
    assert -0.1 <= model.embedding.min() < -0.0999
    wide = models.build(ModelConfig(embedding_init=1.0), 2000).embedding
    assert 0.999 < wide.max() <= 1
    assert -1 <= wide.min() < -0.999
    assert not model.decoder_bias.any()
    assert model.prior.bias is None
    for layer in model.layers:  # PyTorch's: U(±1/√cells)
        bound = layer.hidden_size**-0.5
        assert 0.98 * bound < layer.weight_hh_l0.abs().max() <= bound


def test_forward_is_the_definition():
    """Against the formulas written out: LSTM cells step by step, softmax of each expert, mixture of probabilities."""
    model, ids = network().eval(), text()
    hidden = [torch.zeros(4, cells, dtype=torch.float64) for cells in SMALL.hidden]
    cell = [torch.zeros(4, cells, dtype=torch.float64) for cells in SMALL.hidden]
    output = model(ids, model.initial_state(4))
    for time, words in enumerate(ids):
        below = model.embedding[words]
        for index, layer in enumerate(model.layers):
            gates = below @ layer.weight_ih_l0.T + layer.bias_ih_l0 + hidden[index] @ layer.weight_hh_l0.T
            enter, forget, new, leave = (gates + layer.bias_hh_l0).chunk(4, dim=1)
            cell[index] = forget.sigmoid() * cell[index] + enter.sigmoid() * new.tanh()
            below = hidden[index] = leave.sigmoid() * cell[index].tanh()
        prior = (below @ model.prior.weight.T).softmax(-1)  # (batch, experts)
        probability = torch.zeros(4, VOCABULARY, dtype=torch.float64)
        for expert in range(3):
            rows = slice(6 * expert, 6 * (expert + 1))
            latent = (below @ model.latent.weight[rows].T + model.latent.bias[rows]).tanh()
            softmax = (latent @ model.embedding.T + model.decoder_bias).softmax(-1)
            probability += prior[:, expert : expert + 1] * softmax
        torch.testing.assert_close(output.log_probs[time], probability.log())
        torch.testing.assert_close(output.raw[time], below)
    for index, (hidden_after, cell_after) in enumerate(output.state):
        torch.testing.assert_close(hidden_after[0], hidden[index])
        torch.testing.assert_close(cell_after[0], cell[index])


def test_a_text_in_pieces_is_the_text_in_one():
    model, ids = network().eval(), text()
    state = model.initial_state(4)
    pieces = []
    for piece in ids.split([1, 5, 3]):
        output = model(piece, state)
        state = output.state
        pieces.append(output.log_probs)
    torch.testing.assert_close(torch.cat(pieces), log_probs(model, ids))


def test_evaluation_has_no_dropout():
    rates = {f"dropout_{name}": 0.5 for name in ("rows", "input", "hidden", "output", "latent")}
    with_dropout, without, ids = network(**rates, dropconnect=0.5), network(), text()
    torch.testing.assert_close(log_probs(with_dropout.eval(), ids), log_probs(without.train(), ids), rtol=0, atol=0)
    assert not torch.equal(log_probs(with_dropout.train(), ids), log_probs(without, ids))


@pytest.mark.parametrize(
    "name", ["dropout_rows", "dropout_input", "dropout_hidden", "dropout_output", "dropout_latent"]
)
def test_every_dropout_is_used(name):
    ids = text()
    assert not torch.allclose(log_probs(network(**{name: 0.5}), ids), log_probs(network(), ids))


def test_hidden_dropout_is_between_layers_only():
    ids = text()
    single = models.build(ModelConfig(embedding=6, hidden=(8,), experts=3, dropout_hidden=0.5), VOCABULARY)
    assert torch.equal(log_probs(single.train(), ids), log_probs(single.eval(), ids))


def test_masks_differ_between_passes_and_repeat_with_the_seed():
    model, ids = network(dropout_input=0.5, dropconnect=0.5), text()
    torch.manual_seed(3)
    first, second = log_probs(model, ids), log_probs(model, ids)
    torch.manual_seed(3)
    assert torch.equal(log_probs(model, ids), first)
    assert not torch.equal(first, second)


def test_the_prior_and_ar_see_the_dropped_output_and_tar_the_raw_one():
    model, ids = network(dropout_output=0.6), text()
    output = model(ids, model.initial_state(4))
    dropped = output.dropped == 0
    assert 0 < dropped.float().mean() < 1
    torch.testing.assert_close(output.dropped[~dropped], output.raw[~dropped] / 0.4)
    latent = torch.tanh(model.latent(output.dropped)).unflatten(-1, (3, 6))
    expected = (F.linear(latent, model.embedding, model.decoder_bias)).softmax(-1)
    expected = (model.prior(output.dropped).softmax(-1).unsqueeze(-1) * expected).sum(-2).log()
    torch.testing.assert_close(output.log_probs, expected)


def test_locked_dropout_has_one_mask_over_time_and_one_per_stream():
    torch.manual_seed(0)
    dropped = locked_dropout(torch.ones(7, 300, 40), 0.4, training=True)
    assert torch.equal(dropped, dropped[:1].expand_as(dropped))
    assert not torch.equal(dropped[0, 0], dropped[0, 1])
    assert dropped.unique().tolist() == pytest.approx([0.0, 1 / 0.6])
    assert dropped.mean().item() == pytest.approx(1.0, abs=0.02)


def zeros_of_two_passes(model: models.AwdLstmMos, way: str) -> Iterator[dict[str, torch.Tensor]]:
    """The numbers that training drops, by the layer that reads them, bool (time, batch, width), in two passes.

    Zeros of the experts' latent vectors, and of the recurrent weights, are those of their gradients. Every stream says
    a word of its own again and again, so that a dropped row of the embedding is as lasting as any other mask.
    """
    ids, seen = torch.arange(VOCABULARY).expand(9, -1), {}
    for name in ("layers.0", "layers.1", "layers.2", "latent", "prior"):
        model.get_submodule(name).register_forward_pre_hook(
            lambda _, given, name=name: seen.update({name: given[0] == 0})
        )
    model.latent.register_full_backward_hook(lambda _, __, given: seen.update(experts=given[0] == 0))
    for _ in range(2):
        model.zero_grad()
        state = model.initial_state(VOCABULARY)
        if way == "forward":
            total = model(ids, state).log_probs[:, :, 1].sum()
        else:
            total = model.loss(ids, state, lambda log_probs, _: log_probs[:, 1]).total
        total.backward()
        recurrent = {f"recurrent.{i}": layer.weight_hh_l0.grad == 0 for i, layer in enumerate(model.layers)}
        yield seen | {name: zeros.unsqueeze(0) for name, zeros in recurrent.items()}  # all time steps have the same


@pytest.mark.parametrize("way", ["forward", "loss"])
@pytest.mark.parametrize(
    ("rate", "places"),
    [
        ("dropout_rows", {"layers.0"}),
        ("dropout_input", {"layers.0"}),
        ("dropout_hidden", {"layers.1", "layers.2"}),
        ("dropout_output", {"latent", "prior"}),
        ("dropout_latent", {"experts"}),
        ("dropconnect", {"recurrent.0", "recurrent.1", "recurrent.2"}),
    ],
)
def test_a_mask_holds_for_all_time_steps_of_one_pass(rate, places, way):
    first, second = zeros_of_two_passes(network(**{rate: 0.5}), way)
    assert {place for place, zeros in first.items() if zeros.any()} == places
    for place in places:
        zeros = first[place]
        assert torch.equal(zeros, zeros[:1].expand_as(zeros))
        assert len(zeros[0].unique(dim=0)) > 1  # streams have masks of their own
        assert not torch.equal(zeros, second[place])


def test_each_experts_latent_vector_has_its_own_mask():
    zeros, _ = zeros_of_two_passes(network(dropout_latent=0.5), "loss")
    masks = zeros["experts"][0].unflatten(-1, (3, 6)).unbind(1)  # (batch, embedding) of each expert
    assert all(not torch.equal(masks[i], masks[j]) for i in range(3) for j in range(i))


def test_row_dropout_drops_a_word_everywhere():
    torch.manual_seed(0)
    weight = torch.ones(100, 5, requires_grad=True)
    ids = torch.arange(100).repeat(2, 3).view(2, 300)
    embedded = embed_with_row_dropout(ids, weight, 0.3, training=True)  # (2, 300, 5)
    by_word = embedded.view(6, 100, 5)
    assert torch.equal(by_word, by_word[:1].expand_as(by_word))
    values = by_word[0, :, 0]
    assert torch.equal(by_word[0], values.unsqueeze(-1).expand(100, 5))
    assert values.unique().tolist() == pytest.approx([0.0, 1 / 0.7])
    embedded.sum().backward()
    torch.testing.assert_close(weight.grad[:, 0], 6 * values.detach())


def test_gradients_of_the_whole_network():
    """Finite differences in float64, every parameter, every dropout on."""
    rates = {f"dropout_{name}": 0.3 for name in ("rows", "input", "hidden", "output", "latent")}
    model, ids = network(**rates, dropconnect=0.3), text(3, 2)
    names = [name for name, _ in model.named_parameters()]

    def loss(*parameters: torch.Tensor) -> torch.Tensor:
        torch.manual_seed(4)
        state = model.initial_state(2)
        output = torch.func.functional_call(model, dict(zip(names, parameters, strict=True)), (ids, state))
        return output.log_probs[:, :, 1].sum() + output.dropped.square().sum()

    assert torch.autograd.gradcheck(loss, tuple(model.parameters()), fast_mode=True)


class TestEnsemble:
    def test_is_the_mean_of_probabilities(self):
        members, ids = [network(seed).eval() for seed in (1, 2, 3)], text()
        ensemble = models.Ensemble(members)
        expected = sum(log_probs(member, ids).exp() for member in members) / 3
        torch.testing.assert_close(log_probs(ensemble, ids).exp(), expected)

    def test_of_one_is_that_one(self):
        member, ids = network().eval(), text()
        assert torch.equal(log_probs(models.Ensemble([member]), ids), log_probs(member, ids))

    def test_sums_to_one_where_members_are_sure_of_different_words(self):
        sure = []
        for word in (2, 5):
            member = network().eval()
            with torch.no_grad():
                member.decoder_bias[word] = 800.0
            sure.append(member)
        actual = log_probs(models.Ensemble(sure), text())
        assert torch.isfinite(actual).all()
        torch.testing.assert_close(actual[..., [2, 5]], torch.full((9, 4, 2), math.log(0.5), dtype=torch.float64))

    def test_carries_each_members_state(self):
        ensemble, ids = models.Ensemble([network(1).eval(), network(2).eval()]), text()
        first = ensemble(ids[:4], ensemble.initial_state(4))
        second = ensemble(ids[4:], first.state)
        torch.testing.assert_close(torch.cat([first.log_probs, second.log_probs]), log_probs(ensemble, ids))
        assert first.raw is None and first.dropped is None

    def test_is_rebuilt_from_its_config_even_when_nested(self):
        inner = models.Ensemble([network(1), network(2)])
        outer = models.Ensemble([inner, network(3)])
        assert outer.config == EnsembleConfig((EnsembleConfig((SMALL, SMALL)), SMALL))
        again = models.build(outer.config, VOCABULARY).double()
        again.load_state_dict(outer.state_dict())
        torch.testing.assert_close(log_probs(again.eval(), text()), log_probs(outer.eval(), text()))
        assert outer.num_parameters == 3 * network().num_parameters

    @pytest.mark.parametrize("sizes", [(), (10, 11)])
    def test_refuses_what_does_not_fit(self, sizes):
        with pytest.raises(UsageError, match="the same vocabulary, found sizes"):
            models.Ensemble([models.build(SMALL, size) for size in sizes])


class TestState:
    def test_select_reorders_the_batch(self):
        model, ids = network().eval(), text(9, 4)
        state = model(ids[:5], model.initial_state(4)).state
        chosen = torch.tensor([3, 0, 0])
        selected = model(ids[5:, chosen], models.select_state(state, chosen)).log_probs
        torch.testing.assert_close(selected, model(ids[5:], state).log_probs[:, chosen])

    def test_join_is_the_inverse_of_select(self):
        state = models.Ensemble([network(1), network(2)])(text(), network_state(4)).state
        halves = [models.select_state(state, torch.tensor(half)) for half in ([0], [1, 2, 3])]
        assert equal_states(models.join_states(halves), state)

    def test_detach_cuts_the_graph_and_keeps_the_numbers(self):
        state = network()(text(), network().initial_state(4)).state
        detached = models.detach_state(state)
        assert equal_states(detached, state)
        assert state[0][0].requires_grad and not detached[0][0].requires_grad

    def test_flatten_and_back(self):
        ensemble = models.Ensemble([network(1), network(2)])
        state = ensemble(text(), ensemble.initial_state(4)).state
        flat = models.flatten_state(state)
        assert len(flat) == 2 * 3 * 2 and all(isinstance(part, torch.Tensor) for part in flat.values())
        assert equal_states(models.unflatten_state(ensemble.initial_state(4), flat), state)


def network_state(batch: int) -> models.State:
    return tuple(network().initial_state(batch) for _ in range(2))


def equal_states(left: models.State, right: models.State) -> bool:
    if isinstance(left, torch.Tensor):
        return torch.equal(left, right)
    return len(left) == len(right) and all(map(equal_states, left, right))
