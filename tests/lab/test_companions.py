"""The exact companions: every statement holds, and fails for an operation that is wrong."""

import numpy as np
import pytest
import trimtab as tt
from trimtab.lab.companions import COMPANIONS
from trimtab.lab.registry import find


def failing(name, **operations):
    """The numbers of the statements that do not hold."""
    companion = COMPANIONS[name]
    claims = list(companion.claims(companion.measure(**operations)["measured"]))
    assert all(claim.exact and claim.source and claim.claim for claim in claims)
    return {number for number, claim in enumerate(claims) if not claim.holds}


# ---- operations with a fault ----


def with_(operation, **changes):
    """The operation with other values of some options."""
    return lambda *arguments, **options: operation(*arguments, **options | changes)


def sgd_with_half_the_decay(w, gradient, *, lr, weight_decay, decoupled):
    tt.sgd_update(w, gradient, lr=lr, weight_decay=weight_decay / 2, decoupled=decoupled)


def adam_with_decay_in_the_loss(w, gradient, m, v, *, decoupled, **options):
    tt.adam_update(w, gradient, m, v, decoupled=False, **options)


def sgd_that_rounds_to_zero(w, gradient, **options):
    tt.sgd_update(w, gradient, **options)
    w[np.abs(w) < 0.3] = 0


def square_root_outside(x, *, eps):
    return (x - x.mean(axis=0)) / (x.std(axis=0) + eps), None, None


def square_outside(x, *, eps):
    return (x - x.mean(axis=0)) / np.sqrt(eps), None, None


def without_gamma(x, gamma, beta, *, eps):
    return tt.batch_norm_forward(x, None, beta, eps=eps)


def gradient_without_rstd(dy, x, mean, rstd):
    return (tt.batch_norm_backward(dy, x, mean, rstd)[0] / rstd,)


def moments_of_half(x):
    return tt.batch_moments(x[::2])


def mean_of_means(means, variances, counts):
    return means.mean(axis=0), variances.mean(axis=0), counts.sum()


def with_a_term_again(term):
    """The gradient with a term of the three twice, 0 the first: without it once, it is right."""

    def backward(dy, x, mean, rstd):
        xhat = (x - mean) * rstd
        terms = -rstd * dy.mean(axis=0), -rstd * xhat * np.mean(dy * xhat, axis=0)
        return (tt.batch_norm_backward(dy, x, mean, rstd)[0] + terms[term],)

    return backward


def huge_gradient(dy, x, mean, rstd, *, training):
    return (np.full_like(dy, 1e12),)


def no_gradient(dy, x, mean, rstd):
    return (np.zeros_like(dy),)


def update_by(factor):
    return lambda w, gradient, *, lr: tt.sgd_update(w, gradient, lr=factor * lr)


BROKEN = [
    ("decay_in_loss_or_update", {"sgd": sgd_with_half_the_decay}, {0}),
    ("decay_in_loss_or_update", {"adam": adam_with_decay_in_the_loss}, {1}),
    ("zeros_of_l1", {"sgd": with_(tt.sgd_update, proximal=False)}, {1, 2}),
    ("zeros_of_l1", {"sgd": sgd_that_rounds_to_zero}, {0, 3}),
    ("max_norm_projects", {"max_norm": lambda w, limit, axis: w}, {0}),
    ("max_norm_projects", {"max_norm": lambda w, limit, axis: w / 10}, {1}),
    ("max_norm_projects", {"max_norm": lambda w, limit, axis: np.clip(w, -0.5, 0.5)}, {1, 2}),
    ("gap_of_label_smoothing", {"cross_entropy": with_(tt.softmax_cross_entropy, label_smoothing=0.11)}, {0}),
    ("median_and_mean", {"mae": tt.mse}, {0}),
    ("median_and_mean", {"mse": tt.mae}, {1}),
    ("classical_is_inverted", {"drop": with_(tt.dropout_apply, inverted=True)}, {0}),
    ("classical_is_inverted", {"drop_backward": with_(tt.dropout_backward, inverted=False)}, {0}),
    (
        "classical_is_inverted",
        {
            "drop": with_(tt.dropout_apply, inverted=True),
            "drop_backward": with_(tt.dropout_backward, inverted=True),
        },
        {0, 1},
    ),
    ("dropout_is_ridge", {"drop": with_(tt.dropout_apply, inverted=False)}, {0, 1}),
    ("sampled_nets", {"drop": with_(tt.dropout, inverted=False)}, {0, 1}),
    ("formula_of_batch_norm", {"forward": square_root_outside}, {0, 1}),
    ("formula_of_batch_norm", {"forward": square_outside}, {0, 2}),
    ("scale_of_weights", {"forward": with_(tt.batch_norm_forward, eps=1.0)}, {0, 1}),
    ("scale_of_weights", {"backward": gradient_without_rstd}, {1}),
    ("gamma_and_beta_give_the_input", {"forward": without_gamma}, {0}),
    ("noise_of_batch_statistics", {"moments": moments_of_half}, {0}),
    ("covariance_after_whitening", {"whiten": tt.batch_norm_forward}, {0}),
    ("covariance_after_whitening", {"batch_norm": tt.whiten_forward}, {1}),
    ("limits_of_the_norms", {"renorm": with_(tt.batch_renorm_forward, r_max=1.1)}, {0}),
    ("limits_of_the_norms", {"renorm": with_(tt.batch_renorm_forward, d_max=0.1)}, {0}),
    ("limits_of_the_norms", {"batch_norm": with_(tt.batch_norm_forward, eps=1e-4)}, {1}),
    ("limits_of_the_norms", {"group_norm": with_(tt.group_norm_forward, eps=1e-4)}, {2}),
    ("limits_of_the_norms", {"combine": mean_of_means}, {3}),
    ("a_sample_and_its_batch", {"layer_norm": tt.batch_norm_forward}, {0}),
    ("a_sample_and_its_batch", {"batch_norm": tt.layer_norm_forward}, {1}),
    ("three_terms", {"backward": with_a_term_again(0)}, {0, 1}),
    ("three_terms", {"backward": with_a_term_again(1)}, {0, 2}),
    ("bias_before_batch_norm", {"backward": with_(tt.batch_norm_backward, training=False)}, {2}),
    ("bias_before_batch_norm", {"backward": with_(tt.batch_norm_backward, training=True)}, {0}),
    ("bias_before_batch_norm", {"backward": huge_gradient}, {1, 2}),
    ("weights_before_batch_norm_grow", {"backward": with_(tt.batch_norm_backward, training=False)}, {0, 1}),
    ("weights_before_batch_norm_grow", {"backward": no_gradient}, {2}),
    ("standardized_input", {"update": update_by(1.02)}, {0, 3}),
    ("standardized_input", {"update": update_by(0.98)}, {1, 2, 4}),
    ("standardized_input", {"update": update_by(0.0)}, {5}),
]


@pytest.mark.parametrize("name", COMPANIONS)
def test_every_statement_holds(name):
    assert failing(name) == set()


@pytest.mark.parametrize(
    ("name", "operations", "expected"),
    BROKEN,
    ids=[f"{number}-{name}" for number, (name, _, _) in enumerate(BROKEN)],
)
def test_a_wrong_operation_makes_statements_fail(name, operations, expected):
    with np.errstate(all="ignore"):
        assert failing(name, **operations) >= expected


@pytest.mark.parametrize("name", COMPANIONS)
def test_every_statement_can_fail(name):
    seen = set().union(*(expected for broken, _, expected in BROKEN if broken == name))
    assert seen == set(range(len(COMPANIONS[name].statements)))


def test_the_experiment_has_the_claims_of_every_companion(tmp_path, monkeypatch, capsys):
    """Together they take less than 20 seconds and need no data."""
    from trimtab import cli

    monkeypatch.delenv("TRIMTAB_DATA", raising=False)
    assert cli.main(["lab", "run", "exact", "--out", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    texts = [text for companion in COMPANIONS.values() for text, _ in companion.statements]
    assert len(set(texts)) == len(texts)
    assert all(text in shown for text in texts)
    assert (tmp_path / "exact.json").exists()
    assert not find("exact").data
