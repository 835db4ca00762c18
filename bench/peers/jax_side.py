"""JAX, jitted; see torch_side.py."""
import os

# Before JAX counts the cores it may use.
os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:int(os.environ["OMP_NUM_THREADS"])])

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402

from works import RATE, is_parameter  # noqa: E402


def descent(inputs, loss):
    """Steps of gradient descent on loss(parameters), and the first loss and gradient."""
    parameters = {name: jnp.asarray(value) for name, value in inputs.items() if is_parameter(name)}

    @jax.jit
    def update(at):
        value, slopes = jax.value_and_grad(loss)(at)
        return jax.tree.map(lambda x, slope: x - RATE * slope, at, slopes), value, slopes

    _, value, slopes = update(parameters)
    first = {"loss": value, **{"d_" + name: slope for name, slope in slopes.items()}}

    @jax.jit
    def next_parameters(at):
        return update(at)[0]

    def step():
        nonlocal parameters
        parameters = jax.block_until_ready(next_parameters(parameters))

    return step, first


def layer_norm(x, scale, shift):
    mean = x.mean(-1, keepdims=True)
    variance = jnp.square(x - mean).mean(-1, keepdims=True)
    return (x - mean) * jax.lax.rsqrt(variance + 1e-5) * scale + shift


def encoder(inputs, mode):
    x, target, heads = jnp.asarray(inputs["x"]), jnp.asarray(inputs["target"]), int(inputs["heads"])
    batch, time, width = x.shape

    def loss(p):
        qkv = (x @ p["self_attn.in_proj_weight"].T + p["self_attn.in_proj_bias"]).reshape(batch, time, 3, heads, -1)
        q, k, v = (qkv[:, :, i] for i in range(3))
        mixed = jax.nn.dot_product_attention(q, k, v).reshape(x.shape)
        h = layer_norm(x + mixed @ p["self_attn.out_proj.weight"].T + p["self_attn.out_proj.bias"],
                       p["norm1.weight"], p["norm1.bias"])
        hidden = jax.nn.relu(h @ p["linear1.weight"].T + p["linear1.bias"])
        y = layer_norm(h + hidden @ p["linear2.weight"].T + p["linear2.bias"], p["norm2.weight"], p["norm2.bias"])
        return jnp.square(y - target).mean()

    return descent(inputs, loss)


def maml(forward, loss_of):
    """Second-order steps with the mean of the tasks' losses, all tasks at once."""

    def make(inputs, mode):
        alpha, steps = float(inputs["alpha"]), int(inputs["steps"])
        tasks = [jnp.asarray(inputs[name]) for name in ("support_x", "support_y", "query_x", "query_y")]

        def loss(parameters, x, y):
            return loss_of(forward(parameters, x), y)

        def adapted(theta, support_x, support_y, query_x, query_y):
            phi = theta
            for _ in range(steps):
                phi = jax.tree.map(lambda x, slope: x - alpha * slope, phi, jax.grad(loss)(phi, support_x, support_y))
            return loss(phi, query_x, query_y)

        return descent(inputs, lambda theta: jax.vmap(adapted, in_axes=(None, 0, 0, 0, 0))(theta, *tasks).mean())

    return make


def perceptron(p, x):
    x = jax.nn.relu(x @ p["first.weight"].T + p["first.bias"])
    x = jax.nn.relu(x @ p["second.weight"].T + p["second.bias"])
    return x @ p["last.weight"].T + p["last.bias"]


def classifier(p, x):
    for i in range(4):
        block = f"body.blocks.{i}."
        x = jax.lax.conv_general_dilated(x, p[block + "conv.weight"], (1, 1), "SAME",
                                         dimension_numbers=("NHWC", "OIHW", "NHWC"))
        mean = x.mean((0, 1, 2))
        variance = jnp.square(x - mean).mean((0, 1, 2))
        x = (x - mean) * jax.lax.rsqrt(variance + 1e-5) * p[block + "norm.weight"] + p[block + "norm.bias"]
        x = jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
        x = jax.nn.relu(x)
    return x.reshape(x.shape[0], -1) @ p["head.weight"].T + p["head.bias"]


def mean_squared_error(y, target):
    return jnp.square(y - target).mean()


def cross_entropy(logits, labels):
    return -jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], 1).mean()


def to_numpy(results):
    return {name: np.asarray(value) for name, value in results.items()}


KINDS = {
    "encoder": encoder,
    "maml_sinusoid": maml(perceptron, mean_squared_error),
    "maml_conv": maml(classifier, cross_entropy),
}
