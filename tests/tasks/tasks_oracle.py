"""Plain NumPy simulations of one lifetime a task, written from the specification.

Each loops over time for one rule and is batched over draws. A rule is a function of arrays that
broadcast to (D, n_out, n_in): w as it is, pre (D, 1, n_in), post (D, n_out, 1), scalars (D, 1, 1).
They take the data from the tasks' draw functions and share nothing else with the engine.
"""

from __future__ import annotations

import numpy as np

from evosearch.tasks.delta_rule import draw_task
from evosearch.tasks.hopfield_storage import draw_patterns
from evosearch.tasks.oja_digits import draw_order, load_images
from evosearch.tasks.oja_pc1 import draw_data_set
from evosearch.tasks.switching_cue import draw_life


def keys_of(n, *, seed=0, split=0):
    return [(seed, split, 0, d) for d in range(n)]


def delta_fitness(rule, keys, *, eta=1.0, epochs=10, irrelevant="random", clip=20.0):
    """Return (D,) 1 - mean |target - post| after the lifetime."""
    inputs, targets, w = (
        np.stack(part) for part in zip(*[draw_task(k, 12, irrelevant) for k in keys], strict=True)
    )
    w = w[:, None, :]
    for _ in range(epochs):
        for e in range(12):
            pre, target = inputs[:, e][:, None, :], targets[:, e][:, :, None]
            post = 1.0 / (1.0 + np.exp(-np.sum(w * pre, axis=2, keepdims=True)))
            w = np.clip(w + eta * rule(w, pre, post, target), -clip, clip)
    post = 1.0 / (1.0 + np.exp(-np.einsum("dei,dji->dej", inputs, w)))
    return 1.0 - np.abs(targets - post).mean(axis=(1, 2))


def oja_weights(rule, keys, *, eta=0.05, n=3, steps=1000, clip=5.0, **law):
    """Return final weights (D, n), first components (D, n) and mean |cos| on the way (D,)."""
    law = {"scale": (0.5, 1.5), "covariance": "spectrum", "w0": "normal"} | law
    sets = [draw_data_set(k, n, steps, **law) for k in keys]
    samples, pc1 = np.stack([s.samples for s in sets]), np.stack([s.pc1 for s in sets])
    w = np.stack([s.w0 for s in sets])[:, None, :]
    angle = np.zeros(len(keys))
    for t in range(steps):
        pre = samples[:, t][:, None, :]
        post = np.sum(w * pre, axis=2, keepdims=True)
        w = np.clip(w + eta * rule(w, pre, post), -clip, clip)
        norm = np.linalg.norm(w[:, 0], axis=1)
        angle += np.abs(np.sum(w[:, 0] * pc1, axis=1)) / np.where(norm > 0, norm, np.inf)
    return w[:, 0], pc1, angle / steps


def oja_loss(rule, keys, **settings):
    """Return (D,) min over the sign of |w -+ PC1|^2."""
    w, pc1, _ = oja_weights(rule, keys, **settings)
    return np.minimum(np.square(w - pc1).sum(axis=1), np.square(w + pc1).sum(axis=1))


def digits_cosine(rule, keys, *, eta, epochs=20, images=1797, w0_sd=0.1, clip=5.0):
    """Return (D,) |cos| between the final weights and the first component of the images."""
    data, pc1 = load_images(images)
    orders, w = (
        np.stack(part)
        for part in zip(*[draw_order(k, images, epochs, w0_sd) for k in keys], strict=True)
    )
    w = w[:, None, :]
    for t in range(orders.shape[1]):
        pre = data[orders[:, t]][:, None, :]
        post = np.sum(w * pre, axis=2, keepdims=True)
        w = np.clip(w + eta * rule(w, pre, post), -clip, clip)
    return np.abs(w[:, 0] @ pc1) / np.linalg.norm(w[:, 0], axis=1)


def sign(h):
    return np.where(h >= 0, 1.0, -1.0)


def hopfield_weights(rule, patterns, *, passes=1, clip=10.0):
    """Store patterns (P, N); the rule sees (w, pre, post, field_pre, field_post), 1/N outside."""
    n = patterns.shape[1]
    w = np.zeros((n, n))
    for _ in range(passes):
        for x in patterns:
            h = w @ x
            w = w + rule(w, x[None, :], x[:, None], h[None, :], h[:, None]) / n
            np.fill_diagonal(w, 0.0)
            w = np.clip(w, -clip, clip)
    return w


def pseudo_inverse(patterns):
    n = patterns.shape[1]
    w = patterns.T @ np.linalg.solve(patterns @ patterns.T / n, patterns) / n
    np.fill_diagonal(w, 0.0)
    return w


def hopfield_scores(w, patterns, cues, *, steps=20, overlap=0.95):
    """Return the shares of patterns that are fixed points and that are recalled."""
    fixed = np.all(sign(patterns @ w.T) == patterns, axis=1).mean()
    state = cues
    for _ in range(steps):
        state = sign(state @ w.T)
    return fixed, np.mean((state * patterns).mean(axis=1) >= overlap - 1e-9)


def hopfield_table(store, keys, *, n=100, loads=(10, 20, 30, 40, 50), steps=20):
    """Return {load: (D, 2) fixed and recall}; ``store`` turns patterns into weights."""
    table = {}
    for load in loads:
        draws = [draw_patterns(key, n, load, 0.1) for key in keys]
        table[load] = np.array([hopfield_scores(store(x), x, c, steps=steps) for x, c in draws])
    return table


def cue_reward(
    rule,
    keys,
    *,
    cues=4,
    clip=1.0,
    flips=((35, 65),),
    trials=100,
    eta=1.0,
    is_mod_sign=False,
    noise=None,
):
    """Return (D,) mean reward; ``noise(d, trial)`` may fix the (D, trials, 2) action noise."""
    lives = [draw_life(key, cues, trials, flips) for key in keys]
    shown, sides = np.stack([x.cues for x in lives]), np.stack([x.sides for x in lives])
    w = np.stack([x.w0 for x in lives]).reshape(len(keys), 2, cues)
    if noise is None:
        noise = np.random.default_rng(12345).standard_normal((len(keys), trials, 2))
    total = np.zeros(len(keys))
    for t in range(trials):
        pre = shown[:, t][:, None, :]
        drive = np.sum(w * pre, axis=2) + 0.1 * noise[:, t]
        post = np.eye(2)[np.argmax(drive, axis=1)]
        reward = np.where(np.sum(post * sides[:, t], axis=1) > 0.5, 1.0, 0.2)
        mod = np.sign(reward - 0.6) if is_mod_sign else reward - 0.6
        total += reward
        w = np.clip(w + eta * rule(w, pre, post[:, :, None], mod[:, None, None]), -clip, clip)
    return total / trials
