"""The model, data and first training step of tests/programs/maml.cpp with JAX."""
import jax
import jax.numpy as jnp

WAVES, POINTS = 5, 10


def linear(key, ins, outs):
    return {"w": jax.random.uniform(key, (ins, outs), minval=-1, maxval=1) * ins ** -0.5, "b": jnp.zeros(outs)}


def error(net, x, y):
    h = jax.nn.relu(x @ net[0]["w"] + net[0]["b"])
    h = jax.nn.relu(h @ net[1]["w"] + net[1]["b"])
    return ((h @ net[2]["w"] + net[2]["b"] - y) ** 2).mean()


def meta_loss(net, support, query):
    gradient = jax.grad(error)(net, *support)
    return error(jax.tree.map(lambda p, g: p - 0.01 * g, net, gradient), *query)


@jax.jit
def step(net, mean, square, support, query):
    gradient = jax.tree.map(lambda g: g.mean(0), jax.vmap(jax.grad(meta_loss), (None, 0, 0))(net, support, query))
    mean = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, mean, gradient)
    square = jax.tree.map(lambda s, g: 0.999 * s + 0.001 * g ** 2, square, gradient)
    net = jax.tree.map(lambda p, m, s: p - 1e-3 * (m / 0.1) / (jnp.sqrt(s / 0.001) + 1e-8), net, mean, square)
    return net, mean, square, jnp.sqrt(sum((g ** 2).sum() for g in jax.tree.leaves(gradient)))


keys = jax.random.split(jax.random.key(1), 7)
net = [linear(keys[0], 1, 40), linear(keys[1], 40, 40), linear(keys[2], 40, 1)]
amplitude = jax.random.uniform(keys[3], (WAVES, 1, 1), minval=0.1, maxval=5)
phase = jax.random.uniform(keys[4], (WAVES, 1, 1), maxval=jnp.pi)
sets = []
for key in keys[5:]:
    x = jax.random.uniform(key, (WAVES, POINTS, 1), minval=-5, maxval=5)
    sets.append((x, amplitude * jnp.sin(x - phase)))
zeros = jax.tree.map(jnp.zeros_like, net)
net, mean, square, norm = step(net, zeros, zeros, *sets)
print(f"first gradient {float(norm):.3f}")
