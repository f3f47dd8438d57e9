"""Plain NumPy simulations of the spiking tasks, one step of time after the other.

Written from the specifications. They take data from the tasks' draw functions and share nothing
else with the engine.
"""

from __future__ import annotations

import numpy as np

from evosearch.tasks.error_driven_lif import draw_trial
from evosearch.tasks.reward_driven_lif import draw_life as draw_lif_life
from evosearch.tasks.reward_driven_proxy import draw_life as draw_proxy_life


def student_loss(rule, key, settings, *, eta=1.7, clip=1e6):
    """Return the root of the summed squares of one trial of error_driven_lif."""
    dt = settings.dt
    p22, p11, keep = np.exp(-dt / 10), np.exp(-dt / 2), np.exp(-dt / 100)
    p21 = 2 * 10 / (10 - 2) * (p22 - p11) / 250
    trial, per_ms = draw_trial(key, settings), round(1 / dt)
    w, filtered = np.full(5, 5.0), np.zeros(5)
    v_student = current = total = 0.0
    psp, psp_current = np.zeros(5), np.zeros(5)
    u = v = -70.0
    for step, spikes in enumerate(trial.spikes.astype(float)):
        ms = step // per_ms
        if step % (5 * per_ms) == 0:
            u, v = -70.0 + v_student, -70.0 + float(trial.teacher[ms])
        v_student = p22 * v_student + p21 * current
        current = p11 * current + w @ spikes
        psp = p22 * psp + p21 * psp_current
        psp_current = p11 * psp_current + spikes
        bound = clip * (1 - keep) / eta
        filtered = np.clip(keep * filtered + (1 - keep) * rule(v, u, psp), -bound, bound)
        w = w + eta * dt * filtered
        if (step + 1) % per_ms == 0 and ms >= settings.duration // 10:
            total += (v_student - float(trial.teacher[ms + 1])) ** 2
    return np.sqrt(total)


def proxy_reward(rule, key, settings, chances, *, eta=0.1, clip=50.0):
    """Return the summed reward of one life of reward_driven_proxy; chances are (trials,)."""
    life = draw_proxy_life(key, settings)
    w, mean, total = life.w0.copy(), 0.0, 0.0
    for k, chance in zip(life.shown, chances, strict=True):
        x = life.patterns[k]
        p = 1 / (1 + np.exp(-4 * (w @ x)))
        s = float(chance < p)
        reward = 1.0 if (s == 1) == (life.signs[k] == 1) else -1.0
        total += reward
        w = np.clip(w + eta * rule(reward, mean, (s - p) * x), -clip, clip)
        mean += 0.05 * (reward - mean)
    return total


def lif_reward(rule, key, settings, chances, *, eta=0.2, clip=100.0):
    """Return the summed reward of one life of reward_driven_lif; chances are (trials, steps)."""
    life = draw_lif_life(key, settings)
    since = np.arange(100)
    peak = (2.5 * (np.exp(-since / 10) - np.exp(-since / 2)) / 250 * 1000).max()
    w, mean, total = life.w0.copy(), 0.0, 0.0
    for k, row in zip(life.shown, chances, strict=True):
        elig, spiked = np.zeros(50), False
        for psp, chance in zip(life.psp[k].astype(float), row, strict=True):
            elig *= np.exp(-1 / 500)
            if spiked:
                continue
            v = peak * (w @ psp)
            spiked = chance < 1 - np.exp(-1e-5 * np.exp(min(40.0, (v - 15) / 0.2)))
            elig += psp * (float(spiked) - 0.01 * np.exp(min(40.0, (v - 15) / 5)))
        reward = 1.0 if spiked == (life.signs[k] == 1) else -1.0
        total += reward
        w = np.clip(w + eta * rule(reward, mean, elig), -clip, clip)
        mean += 0.05 * (reward - mean)
    return total


def balanced_spikes(law, inputs, n_inhibitory):
    """Return the steps at which the neuron of ei_balance spikes."""
    dt, w = 0.1, np.full(n_inhibitory, 0.1)
    x_pre, x_post, v, g_e, g_i, silent = np.zeros(n_inhibitory), 0.0, -60.0, 0.0, 0.0, 0
    spikes = []
    for t, n_excitatory in enumerate(inputs.excitatory):
        g_e = g_e * np.exp(-dt / 5) + 0.05 * n_excitatory
        g_i = g_i * np.exp(-dt / 10)
        x_pre *= np.exp(-dt / law.tau_pre)
        x_post *= np.exp(-dt / law.tau_post)
        for k in inputs.source[inputs.step == t]:
            w[k] = np.clip(w[k] + 0.01 * (law.alpha + law.kappa * x_post), 0, 5)
            x_pre[k] += 1
            g_i += w[k]
        if silent:
            silent -= 1
            continue
        v += dt / 20 * ((-60 - v) + g_e * (0 - v) + g_i * (-80 - v))
        if v >= -50:
            spikes.append(t)
            v, silent = -60.0, 50
            x_post += 1
            w = np.clip(w + 0.01 * (law.beta + law.gamma * x_pre), 0, 5)
    return np.array(spikes, int)


def learnt_weights(facilitate, depress, stream, weights):
    """Return weights and times of the neuron's spikes after a stream of correlation_driven."""
    w, k_pre, k_post, v = weights.copy(), np.zeros(len(weights)), 0.0, 0.0
    before, awake_at, spikes = 0.0, 0.0, []
    for now, j in zip(stream.time, stream.source, strict=True):
        passed, before = now - before, now
        v *= np.exp(-passed / 18)
        k_post *= np.exp(-passed / 20)
        k_pre *= np.exp(-passed / 20)
        w[j] = np.clip(w[j] - 0.01 * depress(w[j], k_post), 0, 1)
        k_pre[j] += 1
        if now < awake_at:
            continue
        v += w[j]
        if v >= 20:
            v, awake_at = 0.0, now + 2
            k_post += 1
            spikes.append(now)
            w = np.clip(w + 0.01 * facilitate(w, k_pre), 0, 1)
    return w, np.array(spikes)


def free_potential(weights, stream, times):
    """Return the potential of a membrane without a threshold at given times."""
    arrived = stream.time <= times[:, None]
    since = np.where(arrived, times[:, None] - stream.time, np.inf)
    return np.exp(-since / 18) @ weights[stream.source]
