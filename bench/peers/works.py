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


def all_works():
    for family in large_products, small_products, elementwise, rows_of_numbers, attention, overhead:
        yield from family()
