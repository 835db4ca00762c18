"""Whole models in PyTorch; see torch_side.py."""
import os

import torch
import torch.nn.functional as F

from works import RATE, is_parameter

torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))


def tensor(array):
    return torch.from_numpy(array.copy())


def to_numpy(results):
    return {name: value.detach().numpy() for name, value in results.items()}


def descent(parameters, loss):
    """Steps of gradient descent on loss(), and the results of the first loss and gradient. `parameters` are leaves by
    name."""
    optimizer = torch.optim.SGD(parameters.values(), lr=RATE, fused=True)

    def differentiate():
        optimizer.zero_grad()
        value = loss()
        value.backward()
        return value

    first = {"loss": differentiate().detach().clone()}
    first.update({"d_" + name: leaf.grad.clone() for name, leaf in parameters.items()})

    def step():
        differentiate()
        optimizer.step()

    return step, first


def leaves(inputs):
    return {name: tensor(value).requires_grad_() for name, value in inputs.items() if is_parameter(name)}


def encoder(inputs, mode):
    x, target = tensor(inputs["x"]), tensor(inputs["target"])
    block = torch.nn.TransformerEncoderLayer(x.shape[-1], int(inputs["heads"]), int(inputs["hidden"]), dropout=0,
                                             batch_first=True)
    block.load_state_dict({name: tensor(value) for name, value in inputs.items() if is_parameter(name)})

    def loss():
        return F.mse_loss(block(x), target)

    return descent(dict(block.named_parameters()), torch.compile(loss) if mode == "compile" else loss)


def split_heads(x, heads):
    """[batch, time, width] -> [batch, heads, time, width / heads]."""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def projected(at, block, h):
    """Queries, keys and values of a block of parameters by graft's names."""
    return F.linear(h, at[block + "self_attn.in_proj_weight"], at[block + "self_attn.in_proj_bias"]).chunk(3, -1)


def linear(at, name, h):
    return F.linear(h, at[name + ".weight"], at[name + ".bias"])


def layer_norm(at, name, h, eps=1e-5):
    return F.layer_norm(h, h.shape[-1:], at[name + ".weight"], at[name + ".bias"], eps)


class GptModel:
    """Pre-norm blocks on parameters by graft's names."""

    def __init__(self, inputs, parameters):
        self.at, self.depth, self.heads = parameters, int(inputs["depth"]), int(inputs["heads"])

    def scores(self, ids, attend, first=0):
        """attend(layer, q, k, v) of each layer."""
        at = self.at
        places = at["position_embeddings.weight"][first:first + ids.shape[1]]
        h = F.embedding(ids, at["word_embeddings.weight"]) + places
        for i in range(self.depth):
            block = f"decoder.layers.{i}."
            parts = projected(at, block, layer_norm(at, block + "norm1", h))
            heard = attend(i, *(split_heads(part, self.heads) for part in parts)).transpose(1, 2).flatten(2)
            h = h + linear(at, block + "self_attn.out_proj", heard)
            hidden = F.gelu(linear(at, block + "linear1", layer_norm(at, block + "norm2", h)), approximate="tanh")
            h = h + linear(at, block + "linear2", hidden)
        return layer_norm(at, "decoder.norm", h) @ at["word_embeddings.weight"].T


def gpt(inputs, mode):
    ids, theta = tensor(inputs["ids"]), leaves(inputs)
    net = GptModel(inputs, theta)

    def loss():
        scores = net.scores(ids[:, :-1], lambda _, q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True))
        return F.cross_entropy(scores.flatten(0, 1), ids[:, 1:].flatten())

    return descent(theta, torch.compile(loss) if mode == "compile" else loss)


def gpt_tokens(inputs, mode):
    """Token after token, keys and values being kept in blocks that are large enough from the start."""
    ids = tensor(inputs["ids"])
    net = GptModel(inputs, {name: value.detach() for name, value in leaves(inputs).items()})
    (batch, time), width = ids.shape, int(inputs["width"])
    kept = torch.empty(net.depth, 2, batch, net.heads, time, width // net.heads)

    @torch.inference_mode()
    def step():
        for t in range(time):
            def attend(layer, q, k, v):
                kept[layer, 0, :, :, t:t + 1], kept[layer, 1, :, :, t:t + 1] = k, v
                keys, values = kept[layer, :, :, :, :t + 1]
                return F.scaled_dot_product_attention(q, keys, values)

            scores = net.scores(ids[:, t:t + 1], attend, t)
        return {"scores": scores[:, -1]}

    return step


class SentenceEncoder(torch.nn.Module):
    """Post-norm blocks, and the mean over each text's tokens, of length 1."""

    def __init__(self, inputs):
        super().__init__()
        self.depth, self.heads = int(inputs["depth"]), int(inputs["heads"])
        self.names = [name for name in inputs if is_parameter(name)]
        self.values = torch.nn.ParameterList([tensor(inputs[name]) for name in self.names]).requires_grad_(False)

    def forward(self, ids, mask):
        at = dict(zip(self.names, self.values))
        h = F.embedding(ids, at["word_embeddings.weight"]) + at["token_type_embeddings.weight"][0]
        h = layer_norm(at, "norm", h + at["position_embeddings.weight"][:ids.shape[1]], 1e-12)
        known = mask[:, None, None, :]
        for i in range(self.depth):
            block = f"encoder.layers.{i}."
            parts = (split_heads(part, self.heads) for part in projected(at, block, h))
            heard = F.scaled_dot_product_attention(*parts, attn_mask=known).transpose(1, 2).flatten(2)
            h = layer_norm(at, block + "norm1", h + linear(at, block + "self_attn.out_proj", heard), 1e-12)
            h = layer_norm(at, block + "norm2", h + linear(at, block + "linear2", F.gelu(
                linear(at, block + "linear1", h))), 1e-12)
        weights = mask.to(h.dtype)[:, :, None]
        return F.normalize((h * weights).sum(1) / weights.sum(1), dim=-1)


def sentence_inputs(inputs):
    ids, lengths = tensor(inputs["ids"]), tensor(inputs["lengths"])
    return ids, torch.arange(ids.shape[1]) < lengths[:, None]


def sentences(inputs, mode):
    net, arguments = SentenceEncoder(inputs).eval(), sentence_inputs(inputs)
    run = torch.compile(net) if mode == "compile" else net

    @torch.inference_mode()
    def step():
        return {"vectors": run(*arguments)}

    return step


class ConvNet(torch.nn.Module):
    """Blocks of convolution, batch norm, max-pooling and ReLU (pooling first: the same numbers for less work)."""

    def __init__(self, channels):
        super().__init__()
        self.blocks = torch.nn.ModuleList()
        for i in range(4):
            block = torch.nn.Module()
            block.conv = torch.nn.Conv2d(channels if i else 1, channels, 3, padding=1, bias=False)
            block.norm = torch.nn.BatchNorm2d(channels)
            self.blocks.append(block)

    def forward(self, x):
        for block in self.blocks:
            x = F.relu(F.max_pool2d(block.norm(block.conv(x)), 2))
        return x.flatten(1)


def protonet(inputs, mode):
    images = tensor(inputs["images"]).permute(0, 3, 1, 2).contiguous()
    ways, shots = int(inputs["ways"]), int(inputs["shots"])
    support_labels, query_labels = tensor(inputs["support_labels"]), tensor(inputs["query_labels"])
    net = ConvNet(int(inputs["channels"]))
    net.load_state_dict({name: tensor(value) for name, value in inputs.items() if is_parameter(name)}, strict=False)
    if mode == "channels_last":
        net, images = net.to(memory_format=torch.channels_last), images.to(memory_format=torch.channels_last)

    def loss():
        support, query = net(images).split([ways * shots, len(query_labels)])
        sums = torch.zeros(ways, support.shape[1]).index_add(0, support_labels, support)
        prototypes = sums / shots
        inner = query @ prototypes.T
        distances = query.square().sum(1, keepdim=True) + prototypes.square().sum(1) - 2 * inner
        return F.cross_entropy(-distances, query_labels)

    return descent(dict(net.named_parameters()), loss)


def maml(forward, loss_of):
    """Second-order steps with the mean of the tasks' losses: a loop over tasks, or all tasks at once ("vmap")."""

    def make(inputs, mode):
        alpha, steps = float(inputs["alpha"]), int(inputs["steps"])
        tasks = [tensor(inputs[name]) for name in ("support_x", "support_y", "query_x", "query_y")]
        theta = leaves(inputs)

        def loss(parameters, x, y):
            return loss_of(forward(parameters, x), y)

        def adapted_by_loop(support_x, support_y, query_x, query_y):
            phi = theta
            for _ in range(steps):
                slopes = torch.autograd.grad(loss(phi, support_x, support_y), list(phi.values()), create_graph=True)
                phi = {name: value - alpha * slope for (name, value), slope in zip(phi.items(), slopes)}
            return loss(phi, query_x, query_y)

        def by_loop():
            return torch.stack([adapted_by_loop(*task) for task in zip(*tasks)]).mean()

        if mode != "vmap":
            return descent(theta, by_loop)

        def adapted(parameters, support_x, support_y, query_x, query_y):
            for _ in range(steps):
                slopes = torch.func.grad(loss)(parameters, support_x, support_y)
                parameters = {name: value - alpha * slopes[name] for name, value in parameters.items()}
            return loss(parameters, query_x, query_y)

        def by_vmap(parameters):
            return torch.func.vmap(adapted, in_dims=(None, 0, 0, 0, 0))(parameters, *tasks).mean()

        differentiate = torch.func.grad_and_value(by_vmap)
        theta = {name: value.detach() for name, value in theta.items()}
        slopes, value = differentiate(theta)
        first = {"loss": value, **{"d_" + name: slope for name, slope in slopes.items()}}

        def step():
            nonlocal theta
            slopes, _ = differentiate(theta)
            theta = {name: value - RATE * slopes[name] for name, value in theta.items()}

        return step, first

    return make


def perceptron(parameters, x):
    x = F.relu(F.linear(x, parameters["first.weight"], parameters["first.bias"]))
    x = F.relu(F.linear(x, parameters["second.weight"], parameters["second.bias"]))
    return F.linear(x, parameters["last.weight"], parameters["last.bias"])


def classifier(parameters, x):
    x = x.permute(0, 3, 1, 2)
    for i in range(4):
        block = f"body.blocks.{i}."
        x = F.conv2d(x, parameters[block + "conv.weight"], padding=1)
        scale, shift = parameters[block + "norm.weight"], parameters[block + "norm.bias"]
        x = F.batch_norm(x, None, None, scale, shift, training=True)
        x = F.relu(F.max_pool2d(x, 2))
    return F.linear(x.flatten(1), parameters["head.weight"], parameters["head.bias"])


KINDS = {
    "encoder": encoder,
    "gpt": gpt,
    "gpt_tokens": gpt_tokens,
    "sentences": sentences,
    "protonet": protonet,
    "maml_sinusoid": maml(perceptron, F.mse_loss),
    "maml_conv": maml(classifier, F.cross_entropy),
}
