"""The model, data and first training step of tests/programs/transformer.cpp with JAX."""
import jax
import jax.numpy as jnp

TOKENS, LENGTH, WIDTH, HEADS, HIDDEN, BATCH = 8, 6, 32, 4, 64, 64


def linear(key, ins, outs):
    return {"w": jax.random.uniform(key, (ins, outs), minval=-1, maxval=1) * ins ** -0.5, "b": jnp.zeros(outs)}


def layer(key):
    keys = jax.random.split(key, 6)
    one = {"scale": jnp.ones(WIDTH), "shift": jnp.zeros(WIDTH)}
    return {"qkv": linear(keys[0], WIDTH, 3 * WIDTH), "out": linear(keys[1], WIDTH, WIDTH),
            "up": linear(keys[2], WIDTH, HIDDEN), "down": linear(keys[3], HIDDEN, WIDTH), "norm1": one, "norm2": one}


def apply(p, x):
    return x @ p["w"] + p["b"]


def normed(p, x):
    centred = x - x.mean(-1, keepdims=True)
    return centred / jnp.sqrt((centred ** 2).mean(-1, keepdims=True) + 1e-5) * p["scale"] + p["shift"]


def encode(p, x):
    q, k, v = (t.reshape(BATCH, LENGTH, HEADS, -1).transpose(0, 2, 1, 3)
               for t in jnp.split(apply(p["qkv"], normed(p["norm1"], x)), 3, -1))
    weights = jax.nn.softmax(q @ k.transpose(0, 1, 3, 2) * (WIDTH / HEADS) ** -0.5)
    x = x + apply(p["out"], (weights @ v).transpose(0, 2, 1, 3).reshape(BATCH, LENGTH, WIDTH))
    return x + apply(p["down"], jax.nn.relu(apply(p["up"], normed(p["norm2"], x))))


def loss(net, sequences, labels):
    h = net["token"][sequences] + net["place"]
    for p in net["layers"]:
        h = encode(p, h)
    logits = jax.nn.log_softmax(apply(net["head"], h.mean(1)))
    return -jnp.take_along_axis(logits, labels[:, None], 1).mean()


@jax.jit
def step(net, mean, square, sequences, labels):
    value, gradient = jax.value_and_grad(loss)(net, sequences, labels)
    norm = jnp.sqrt(sum((g ** 2).sum() for g in jax.tree.leaves(gradient)))
    gradient = jax.tree.map(lambda g: g * jnp.minimum(1, 1 / norm), gradient)
    mean = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, mean, gradient)
    square = jax.tree.map(lambda s, g: 0.999 * s + 0.001 * g ** 2, square, gradient)
    net = jax.tree.map(lambda p, m, s: 0.99997 * p - 3e-3 * (m / 0.1) / (jnp.sqrt(s / 0.001) + 1e-8), net, mean, square)
    return net, mean, square, value


keys = jax.random.split(jax.random.key(1), 6)
net = {"token": jax.random.normal(keys[0], (TOKENS, WIDTH)), "place": jax.random.normal(keys[1], (LENGTH, WIDTH)),
       "layers": [layer(keys[2]), layer(keys[3])], "head": linear(keys[4], WIDTH, 2)}
sequences = jax.random.randint(keys[5], (BATCH, LENGTH), 0, TOKENS)
labels = (sequences[:, 0] == sequences[:, -1]).astype(int)
zeros = jax.tree.map(jnp.zeros_like, net)
net, mean, square, value = step(net, zeros, zeros, sequences, labels)
print(f"first loss {float(value):.3f}")
