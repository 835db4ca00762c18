"""The table of the comparison: every piece of work, what it starts from, whom graft is measured against and what it
must reach. A row of the table is met when all its works are."""
import dataclasses

import numpy as np


@dataclasses.dataclass
class Work:
    row: str        # of the table
    name: str       # of the work within the row
    kind: str       # what the sides call it
    inputs: dict    # name -> array or number
    goals: dict     # {sides: least ratio of graft's rate to the best of theirs, a number or one for each thread count}
    error: float = 1e-5  # allowed difference of results, as a fraction of their norm
    memory_goal: float | None = None  # most of graft's added memory as a fraction of each peer's


@dataclasses.dataclass
class Growth:
    """graft alone at growing work: cost / work ** power must not rise by more than 1 / goal from one size to the
    next, or than 1 / goal of what `limit` rises by."""
    row: str
    name: str
    sizes: list     # of the work
    make: object    # size -> Work
    power: float    # time grows like work to this power
    goal: float
    limit: object = None  # size -> Work that is nothing but what the machine limits


@dataclasses.dataclass
class Threads:
    """graft alone on one thread and on two: the quotient of the times must reach the goal of `work`."""
    work: Work
    goal: float


RATE = 1e-3  # of every step of gradient descent


def is_parameter(name):
    """Parameters of models are those inputs whose name has a dot."""
    return "." in name


HAS_AMX = "amx_tile" in open("/proc/cpuinfo", encoding="ascii").read()
BLAS = ("mkl", "openblas")


def numbers(shape, seed):
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def product(row, goal, m, n, k, order="nn", batch=1, sides=BLAS):
    ta, tb = (letter == "t" for letter in order)
    lead = [batch] if batch > 1 else []
    inputs = {"batch": batch, "m": m, "n": n, "k": k, "transpose_a": int(ta), "transpose_b": int(tb),
              "a": numbers([*lead, k, m] if ta else [*lead, m, k], 1),
              "b": numbers([*lead, n, k] if tb else [*lead, k, n], 2)}
    name = f"{m}x{n}x{k}" + (f" x {batch}" if batch > 1 else "") + ("" if order == "nn" else f" {order}")
    return Work(row, name, "product", inputs, {sides: goal})


def large_products():
    """Goals on one thread and on two."""
    def goal(size):
        if not HAS_AMX:
            return {1: 0.95, 2: 0.95}
        return {1: 1.1, 2: 1.1} if size == 256 else {1: 1.3, 2: 1.25}

    for size in 256, 512, 1024, 2048:
        yield product("sgemm", goal(size), size, size, size)
    yield product("sgemm", goal(1024), 4096, 256, 1024)
    for order in "nt", "tn", "tt":
        yield product("sgemm", goal(1024), 1024, 1024, 1024, order)


def small_products():
    sides = (*BLAS, "eigen")
    row = "small and skinny products"
    yield product(row, 1.3, 2708, 8, 1433, sides=sides)
    for size, goal in (8, 1.3), (16, 1.3), (32, 1.05), (64, 1.05):
        yield product(row, goal, size, size, size, sides=sides)
    yield product(row, 1.2, 32, 32, 32, batch=512, sides=sides)
    yield product(row, 1.2, 256, 256, 64, "nt", batch=64, sides=sides)
    yield product(row, 1.2, 256, 64, 256, batch=64, sides=sides)


def elementwise():
    row = "elementwise chains"
    for name, rows in ("64 K", 256), ("4 M", 16384):
        shape = [rows, 256]
        inputs = {"x": numbers(shape, 1), "bias": numbers([256], 2), "residual": numbers(shape, 3),
                  "upstream": numbers(shape, 4)}
        yield Work(row, f"bias + gelu + residual, {name}", "bias_gelu_residual", inputs,
                   {("torch",): 4, ("torch.compile",): 1})
        yield Work(row, f"Adam step, {name}", "adam", {"x": numbers(shape, 1), "gradient": numbers(shape, 2)},
                   {("torch",): 4, ("torch.fused",): 0.95})


def rows_of_numbers():
    row = "softmax family and norms"
    x, upstream = numbers([4096, 256], 1), numbers([4096, 256], 2)
    labels = np.random.default_rng(3).integers(0, 256, 4096)
    yield Work(row, "softmax 4096x256", "softmax", {"x": x, "upstream": upstream}, {("torch",): 2})
    yield Work(row, "log-softmax + cross-entropy 4096x256", "cross_entropy",
               {"x": x, "labels": labels, "upstream": np.float32(1)}, {("torch",): 2})
    yield Work(row, "layer norm 4096x256", "layer_norm",
               {"x": x, "scale": numbers([256], 4), "shift": numbers([256], 5), "upstream": upstream}, {("torch",): 2})


def attention():
    for batch, heads, time in (8, 8, 256), (1, 8, 2048):
        for causal in 0, 1:
            shape = [batch, heads, time, 64]
            inputs = {name: numbers(shape, seed) for seed, name in enumerate(["q", "k", "v", "upstream"])}
            yield Work("attention", f"B{batch} H{heads} T{time} D64" + (" causal" if causal else ""), "attention",
                       {**inputs, "causal": causal}, {("torch",): 1.4 if causal else 1.1}, error=1e-4)


def overhead():
    for size in 8, 64, 1024:
        inputs = {"x": numbers([size], 1), "w": numbers([size], 2), "b": numbers([size], 3),
                  "upstream": numbers([size], 4), "steps": 50}
        yield Work("op overhead", f"150 small ops on {size}", "small_ops", inputs, {("torch",): 30}, error=1e-4)


def uniform(shape, fan_in, seed):
    """Weights as layers start with: uniform in +-1 / sqrt(fan_in)."""
    return (np.random.default_rng(seed).uniform(-1, 1, shape) / np.sqrt(fan_in)).astype(np.float32)


def linear(name, fan_in, fan_out, seed):
    return {name + ".weight": uniform([fan_out, fan_in], fan_in, seed),
            name + ".bias": uniform([fan_out], fan_in, seed + 1)}


def norm(name, width, seed):
    return {name + ".weight": 1 + 0.1 * numbers([width], seed), name + ".bias": 0.1 * numbers([width], seed + 1)}


def block(name, width, hidden, seed):
    """The parameters of a Transformer block."""
    into = linear(name + "self_attn.in_proj", width, 3 * width, seed)
    return {**{key.replace("proj.", "proj_"): value for key, value in into.items()},
            **linear(name + "self_attn.out_proj", width, width, seed + 1),
            **linear(name + "linear1", width, hidden, seed + 2), **linear(name + "linear2", hidden, width, seed + 4),
            **norm(name + "norm1", width, seed + 6), **norm(name + "norm2", width, seed + 8)}


def encoder(batch=32, time=128, width=256, heads=8, hidden=1024):
    shape = [batch, time, width]
    inputs = {"x": numbers(shape, 1), "target": numbers(shape, 2), "heads": heads, "hidden": hidden,
              **block("", width, hidden, 11)}
    yield Work("Transformer encoder block", f"B{batch} T{time} d{width} h{heads} ff{hidden}", "encoder", inputs,
               {("torch", "torch.compile", "jax"): 1.3}, error=1e-4)


def conv_net(channels, prefix=""):
    parameters = {}
    for i in range(4):
        block, width_in = f"{prefix}blocks.{i}.", channels if i else 1
        parameters[block + "conv.weight"] = uniform([channels, width_in, 3, 3], width_in * 9, 20 + i)
        parameters.update(norm(block + "norm", channels, 30 + 2 * i))
    return parameters


def protonet(ways=20, shots=5, queries=15, channels=64):
    inputs = {"images": numbers([ways * (shots + queries), 28, 28, 1], 1), "ways": ways, "shots": shots,
              "channels": channels, "support_labels": np.repeat(np.arange(ways), shots),
              "query_labels": np.repeat(np.arange(ways), queries), **conv_net(channels)}
    yield Work("ProtoNet step", f"conv4-{channels}, {ways}-way {shots}-shot 28x28", "protonet", inputs,
               {("torch", "torch.channels_last"): 1.5}, error=5e-3)  # a rounding can move the maximum of a window


def gat(name, width_in, width, heads, seed):
    return {name + "weight": uniform([heads * width, width_in], width_in, seed),
            name + "att_src": uniform([heads, width], width, seed + 1),
            name + "att_dst": uniform([heads, width], width, seed + 2),
            name + "bias": 0.1 * numbers([heads * width], seed + 3)}


def cora(data):
    """Edges with self-loops [2, edges], row-normalised features, labels and training nodes: of the real data set if it
    is there, else random ones of its size."""
    file = data / "cora" / "cora.npz"
    if not file.exists():
        random = np.random.default_rng(1)
        edges = random.integers(0, 2708, [2, 5278])
        x = (random.random([2708, 1433]) < 0.0127).astype(np.float32)
        edges, labels, seen = np.concatenate([edges, edges[::-1]], 1), random.integers(0, 7, 2708), np.arange(140)
    else:
        with np.load(file) as arrays:
            edges, labels, seen = arrays["edge_index"], arrays["y"], np.flatnonzero(arrays["train_mask"])
            x = np.zeros(arrays["feature_shape"], np.float32)
            rows = np.repeat(np.arange(len(x)), np.diff(arrays["feature_indptr"]))
            x[rows, arrays["feature_indices"]] = arrays["feature_values"]
    loops = np.tile(np.arange(len(x)), [2, 1])
    return np.concatenate([edges, loops], 1), x / np.maximum(x.sum(1, keepdims=True), 1), labels, seen


def gat_epoch(data):
    edges, x, labels, seen = cora(data)
    inputs = {"x": x, "edges": edges, "seen": seen, "labels": labels[seen].astype(np.int64), "heads": 8, "width": 8,
              "classes": 7, "dropout": 0.6, **gat("first.", 1433, 8, 8, 1), **gat("second.", 64, 7, 1, 5)}
    yield Work("GAT epoch on Cora", "dense features", "gat_epoch", inputs, {("pyg", "pyg.compile"): 4}, error=1e-4)
    yield Work("GAT epoch on Cora", "sparse features", "gat_epoch_sparse", inputs, {("pyg",): 10}, error=1e-4)


def gcn_epoch(data):
    edges, x, labels, seen = cora(data)
    inputs = {"x": x, "edges": edges[:, :-len(x)], "seen": seen, "labels": labels[seen].astype(np.int64), "width": 16,
              "classes": 7, "dropout": 0.5, **gcn("first.", 1433, 16, 1), **gcn("second.", 16, 7, 3)}
    yield Work("GCN epoch on Cora", "sparse features", "gcn_epoch", inputs, {("pyg", "pyg.csr"): 4}, error=1e-4)


def gcn(name, width_in, width, seed):
    return {name + "lin.weight": uniform([width, width_in], width_in, seed),
            name + "bias": 0.1 * numbers([width], seed + 1)}


def sage(name, width_in, width, seed):
    return {**linear(name + "lin_l", width_in, width, seed),
            name + "lin_r.weight": uniform([width, width_in], width_in, seed + 2)}


def large_graph(nodes=100_000, edges=2_000_000):
    """Different edges [2, edges] without loops, in any order."""
    random = np.random.default_rng(1)
    codes = random.choice(np.unique(random.integers(0, nodes * (nodes - 1), edges + edges // 8)), edges, replace=False)
    sources, others = np.divmod(codes, nodes - 1)
    return np.stack([sources, others + (others >= sources)])


def graph_layers(width=128, heads=8):
    """Against the other library's edge lists and, where it takes them, sparse matrices."""
    edges = large_graph()
    nodes = int(edges.max()) + 1
    both = {("pyg", "pyg.compile", "pyg.csr"): 4}
    families = {
        "GCN": ("gcn_layer", gcn("", width, width, 2), both),
        "SAGE": ("sage_layer", sage("", width, width, 2), both),
        "GIN": ("gin_layer", {**linear("nn.0", width, width, 2), **linear("nn.2", width, width, 4),
                              "eps": np.full([1], 0.1, np.float32)}, both),
        "TransformerConv": ("transformer_layer", {"heads": heads, **{
            key: value for seed, name in enumerate(["lin_key", "lin_query", "lin_value", "lin_skip"])
            for key, value in linear(name, width, width, 2 * seed).items()}}, {("pyg", "pyg.compile"): 4}),
    }
    for name, (kind, parameters, goals) in families.items():
        inputs = {"x": numbers([nodes, width], 6), "upstream": numbers([nodes, width], 7), "edges": edges, **parameters}
        yield Work("graph layers on a large graph", f"{name}, 2 000 000 edges, width {width}", kind, inputs, goals,
                   error=5e-4)  # the gradient of GIN's eps is one sum of 13 million numbers of either sign


def sampled_sage(width_in=128, width=256, classes=32):
    edges = large_graph()
    nodes = int(edges.max()) + 1
    inputs = {"x": numbers([nodes, width_in], 6), "edges": edges, "labels": np.arange(nodes) % classes,
              "width": width, "classes": classes, "batch": 1024, "compared": 64, **sage("first.", width_in, width, 1),
              **sage("second.", width, classes, 5)}
    yield Work("neighbour-sampled step", "SAGE, fan-out 10 x 10, batch 1024", "sampled_sage", inputs, {("pyg",): 3},
               error=1e-4)


def gpt_inputs(ids, depth=6, width=384, heads=6, vocabulary=65):
    longest = ids.shape[1]
    parameters = {"word_embeddings.weight": 0.02 * numbers([vocabulary, width], 1),
                  "position_embeddings.weight": 0.02 * numbers([longest, width], 2), **norm("decoder.norm", width, 3)}
    for i in range(depth):
        parameters.update(block(f"decoder.layers.{i}.", width, 4 * width, 20 * i + 5))
    return {"ids": ids, "depth": depth, "width": width, "heads": heads, "vocabulary": vocabulary, "longest": longest,
            **parameters}


def gpt():
    ids = np.random.default_rng(1).integers(0, 65, [12, 257])
    yield Work("GPT step", "6 layers, 384 wide, T 256, B 12", "gpt", gpt_inputs(ids), {("torch", "torch.compile"): 1.2},
               error=1e-4)
    yield Work("token by token with kept keys and values", "6 layers, 384 wide, 128 tokens, B 1", "gpt_tokens",
               gpt_inputs(ids[:1, :128]), {("torch",): 3}, error=1e-4)


def sentences(batch=32, depth=6, width=384, heads=12, vocabulary=30522):
    """The shape of all-MiniLM-L6-v2 on texts of natural lengths, sorted by length as programs do."""
    random = np.random.default_rng(1)
    lengths = np.sort(np.clip(random.lognormal(3.1, 0.5, batch), 6, 128).astype(np.int64))[::-1].copy()
    ids = random.integers(1000, vocabulary, [batch, lengths[0]])
    parameters = {"word_embeddings.weight": 0.02 * numbers([vocabulary, width], 1),
                  "position_embeddings.weight": 0.02 * numbers([512, width], 2),
                  "token_type_embeddings.weight": 0.02 * numbers([2, width], 3), **norm("norm", width, 4)}
    for i in range(depth):
        parameters.update(block(f"encoder.layers.{i}.", width, 4 * width, 20 * i + 6))
    inputs = {"ids": ids, "lengths": lengths, "depth": depth, "width": width, "heads": heads,
              "vocabulary": vocabulary, **parameters}
    yield Work("sentence vectors", f"MiniLM's shape, batch {batch}, 6 to {lengths[0]} tokens", "sentences", inputs,
               {("torch", "torch.compile", "onnx"): 1.0}, error=1e-4)


def gat_layer_inputs(nodes, edges, heads=8, width=16):
    random = np.random.default_rng(1)
    parameters = gat("", heads * width, width, heads, 2)
    return {"x": numbers([nodes, heads * width], 6), "upstream": numbers([nodes, heads * width], 7),
            "edges": random.integers(0, nodes, [2, edges]), "heads": heads, **parameters}


def gat_layer():
    yield Work("GAT layer on a large graph", "100 000 nodes, 2 000 000 edges", "gat_layer",
               gat_layer_inputs(100_000, 2_000_000), {("pyg", "pyg.compile"): 5}, error=1e-4, memory_goal=0.2)


def sinusoids(tasks):
    random = np.random.default_rng(1)
    amplitude, phase = random.uniform(0.1, 5, [tasks, 1, 1]), random.uniform(0, np.pi, [tasks, 1, 1])
    inputs = {"alpha": 0.01, "steps": 1, **linear("first", 1, 40, 1), **linear("second", 40, 40, 3),
              **linear("last", 40, 1, 5)}
    for part in "support", "query":
        x = random.uniform(-5, 5, [tasks, 10, 1])
        inputs[part + "_x"] = x.astype(np.float32)
        inputs[part + "_y"] = (amplitude * np.sin(x - phase)).astype(np.float32)
    return Work("MAML step", f"sinusoid, {tasks} tasks", "maml_sinusoid", inputs,
                {("torch",): 20, ("torch.vmap",): 5, ("jax",): 1.2}, error=1e-4)


def maml():
    yield sinusoids(25)
    tasks, ways, queries, channels = 4, 5, 15, 32
    for steps in 1, 5:
        inputs = {"alpha": 0.01, "steps": steps, "ways": ways, "channels": channels,
                  "support_x": numbers([tasks, ways, 28, 28, 1], 1),
                  "query_x": numbers([tasks, ways * queries, 28, 28, 1], 2),
                  "support_y": np.tile(np.arange(ways), [tasks, 1]),
                  "query_y": np.tile(np.repeat(np.arange(ways), queries), [tasks, 1]),
                  **conv_net(channels, "body."), **linear("head", channels, ways, 9)}
        yield Work("MAML step", f"conv4-{channels}, {ways}-way 1-shot, {tasks} tasks, {steps} step" + "s" * (steps > 1),
                   "maml_conv", inputs, {("torch",): 2, ("jax",): 1.2}, error=5e-3)


def growth():
    """Caches are left on the way up, so a step to a larger size may cost up to twice its share. What does next to
    nothing but move numbers is held to a copy, whose steps can cost more than that."""
    row, goal = "cost as work grows", 0.5

    def attention(time):
        shape = [1, 8, time, 64]
        inputs = {name: numbers(shape, seed) for seed, name in enumerate(["q", "k", "v", "upstream"])}
        return Work(row, "", "attention", {**inputs, "causal": 0}, {})

    def adam(count):
        return Work(row, "", "adam", {"x": numbers([count], 1), "gradient": numbers([count], 2)}, {})

    def copy(count):
        """Of as many bytes in memory as Adam's four tensors."""
        return Work(row, "", "peak_copy", {"count": 2 * count}, {})

    yield Growth(row, "tasks of a MAML step", [1, 4, 16, 64], sinusoids, 1, goal)
    yield Growth(row, "edges of a GAT layer", [10 ** 4, 10 ** 5, 10 ** 6, 10 ** 7],
                 lambda edges: Work(row, "", "gat_layer", gat_layer_inputs(edges // 20, edges), {}), 1, goal)
    yield Growth(row, "tokens of attention", [64, 256, 1024, 4096], attention, 2, goal)
    yield Growth(row, "parameters of an Adam step", [10 ** 4, 10 ** 5, 10 ** 6, 10 ** 7], adam, 1, goal, copy)
    for size, least in (256, 1.35), (512, 1.7), (1024, 1.7), (2048, 1.7):
        yield Threads(product(row, 0, size, size, size), least)


def cost(work):
    """FLOPs and bytes between memory and processor that the work takes at least."""
    at = work.inputs

    def numbers_of(*names):
        return 4 * sum(np.size(at[name]) for name in names)

    def conv_flops(images, channels):
        """Forward and both gradients of a conv4 net on 28x28 images; no gradient of the images."""
        sizes = [(28, 1), (14, channels), (7, channels), (3, channels)]
        layers = [2 * 9 * size * size * width_in * channels * images for size, width_in in sizes]
        return 3 * sum(layers) - layers[0]

    if work.kind == "product":
        return 2 * at["batch"] * at["m"] * at["n"] * at["k"], numbers_of("a", "b") + 4 * at["batch"] * at["m"] * at["n"]
    if work.kind == "bias_gelu_residual":
        return 0, 6 * numbers_of("x")
    if work.kind == "adam":
        return 0, 7 * numbers_of("x")
    if work.kind in ("softmax", "layer_norm"):
        return 0, 5 * numbers_of("x")
    if work.kind == "cross_entropy":
        return 0, 3 * numbers_of("x")
    if work.kind == "attention":
        batch, heads, time, depth = at["q"].shape
        return 14 * batch * heads * time * time * depth / (2 if at["causal"] else 1), 8 * numbers_of("q")
    if work.kind == "encoder":
        batch, time, width = at["x"].shape
        weights = sum(np.size(at[name]) for name in at if name.endswith("weight"))
        return 6 * batch * time * weights + 14 * batch * time * time * width, 0
    if work.kind == "protonet":
        return conv_flops(len(at["images"]), int(at["channels"])), 0
    if work.kind in ("gat_epoch", "gat_epoch_sparse"):
        entries = np.count_nonzero(at["x"]) if work.kind == "gat_epoch_sparse" else at["x"].size
        return 4 * entries * at["heads"] * at["width"], 0
    if work.kind == "gcn_epoch":
        return 4 * np.count_nonzero(at["x"]) * at["width"], 0
    if work.kind in ("gat_layer", "gcn_layer", "sage_layer", "gin_layer", "transformer_layer"):
        nodes, width_in = at["x"].shape
        width = at["upstream"].shape[1]
        maps = {"sage_layer": 2, "gin_layer": 2, "transformer_layer": 4}.get(work.kind, 1)
        return 6 * maps * nodes * width_in * width, 2 * 4 * at["edges"].shape[1] * width
    if work.kind == "sampled_sage":
        return 0, 4 * at["batch"] * 100 * at["x"].shape[1]
    if work.kind in ("gpt", "gpt_tokens", "sentences"):
        tokens = at["ids"].size if work.kind == "gpt_tokens" else at["lengths"].sum() if work.kind == "sentences" else (
            at["ids"].shape[0] * (at["ids"].shape[1] - 1))
        maps = 12 * at["depth"] * at["width"] ** 2 + (at["width"] * at["vocabulary"] if work.kind != "sentences" else 0)
        return (6 if work.kind == "gpt" else 2) * tokens * maps, 0
    if work.kind == "maml_sinusoid":
        tasks, points, _ = at["support_x"].shape
        return 2 * tasks * points * (40 + 1600 + 40) * (3 + 3 + 6), 0
    if work.kind == "maml_conv":
        tasks, images = at["support_x"].shape[:2]
        channels, steps = int(at["channels"]), int(at["steps"])
        adapting = 3 * steps * conv_flops(tasks * images, channels)
        return conv_flops(tasks * at["query_x"].shape[1], channels) + adapting, 0
    if work.kind == "small_ops":
        return 3 * 3 * at["steps"] * at["x"].size, 0
    raise ValueError(work.kind)


def all_works(data):
    for family in (large_products, small_products, elementwise, rows_of_numbers, attention, encoder, protonet,
                   gpt, sentences, lambda: gat_epoch(data), lambda: gcn_epoch(data), gat_layer, graph_layers,
                   sampled_sage, maml, overhead, growth):
        yield from family()
