"""PyTorch Geometric, eager and compiled ("compile"); see torch_side.py."""
import torch
import torch.nn.functional as F
import torch_geometric.nn

from torch_models import descent, tensor, to_numpy
from works import is_parameter


def gat_conv(width_in, width, heads, dropout, parameters):
    """A GATConv with `parameters`, whose names and shapes are graft's. Self-loops are in the graph already."""
    layer = torch_geometric.nn.GATConv(width_in, width, heads=heads, dropout=dropout, add_self_loops=False)
    layer.load_state_dict({
        "lin.weight": parameters["weight"], "bias": parameters["bias"],
        "att_src": parameters["att_src"].unsqueeze(0), "att_dst": parameters["att_dst"].unsqueeze(0)})
    return layer


def ours(layer):
    """The layer's parameters by graft's names."""
    return {"weight": layer.lin.weight, "att_src": layer.att_src, "att_dst": layer.att_dst, "bias": layer.bias}


class GraphNet(torch.nn.Module):
    def __init__(self, inputs, width_in):
        super().__init__()
        heads, width, classes = (int(inputs[name]) for name in ("heads", "width", "classes"))
        rate = float(inputs["dropout"])
        at = {name: tensor(value) for name, value in inputs.items() if is_parameter(name)}

        def part(layer):
            return {name.partition(".")[2]: value for name, value in at.items() if name.startswith(layer)}

        self.rate = rate
        self.first = gat_conv(width_in, width, heads, rate, part("first."))
        self.second = gat_conv(heads * width, classes, 1, rate, part("second."))

    def forward(self, x, edges):
        h = F.elu(self.first(dropped(x, self.rate, self.training), edges))
        return self.second(F.dropout(h, self.rate, self.training), edges)


class SparseLinear(torch.nn.Module):
    """GATConv's projection for features in compressed rows."""

    def __init__(self, weight):
        super().__init__()
        self.weight = weight

    def forward(self, x):
        return torch.sparse.mm(x, self.weight.t())


def dropped(x, rate, training):
    """Dropout of a sparse matrix: zeros stay zeros, so only the numbers are drawn for."""
    if x.layout == torch.strided or not training:
        return F.dropout(x, rate, training)
    return torch.sparse_csr_tensor(x.crow_indices(), x.col_indices(), F.dropout(x.values(), rate), x.shape)


def gat_epoch(inputs, mode, sparse=False):
    x, edges = tensor(inputs["x"]), tensor(inputs["edges"])
    seen, labels = tensor(inputs["seen"]), tensor(inputs["labels"])
    net = GraphNet(inputs, x.shape[1])
    named = {f"{part}.{name}": leaf for part in ("first", "second") for name, leaf in ours(getattr(net, part)).items()}

    if sparse:
        x = x.to_sparse_csr()
        net.first.lin = SparseLinear(net.first.lin.weight)

    def loss():
        return F.cross_entropy(net(x, edges)[seen], labels)

    net.eval()  # for the results; torch.compile compiles again for training
    made = descent(named, torch.compile(loss) if mode == "compile" else loss)
    net.train()
    return made


def gat_layer(inputs, mode):
    x, upstream, edges = tensor(inputs["x"]).requires_grad_(), tensor(inputs["upstream"]), tensor(inputs["edges"])
    heads = int(inputs["heads"])
    layer = gat_conv(x.shape[1], upstream.shape[1] // heads, heads, 0, {
        name: tensor(inputs[name]) for name in ("weight", "att_src", "att_dst", "bias")})
    run = torch.compile(layer) if mode == "compile" else layer
    named = {"x": x, **ours(layer)}

    def step():
        y = run(x, edges)
        return {"y": y, **{"d_" + name: slope for name, slope in
                           zip(named, torch.autograd.grad(y, list(named.values()), upstream))}}

    return step


def gat_epoch_sparse(inputs, mode):
    return gat_epoch(inputs, mode, sparse=True)


KINDS = {"gat_epoch": gat_epoch, "gat_epoch_sparse": gat_epoch_sparse, "gat_layer": gat_layer}
