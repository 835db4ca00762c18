"""PyTorch Geometric, eager, compiled ("compile") and with its graphs as sparse matrices ("csr"); see torch_side.py."""
import itertools

import torch
import torch.nn.functional as F
import torch_geometric.nn as geometric
from torch_geometric.data import Data
from torch_geometric.loader import NeighborLoader
from torch_geometric.utils import to_torch_csr_tensor

from torch_models import descent, tensor, to_numpy
from works import is_parameter


def gat_conv(width_in, width, heads, dropout, parameters):
    """A GATConv with `parameters`, whose names and shapes are graft's. Self-loops are in the graph already."""
    layer = geometric.GATConv(width_in, width, heads=heads, dropout=dropout, add_self_loops=False)
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


def gat_epoch_sparse(inputs, mode):
    return gat_epoch(inputs, mode, sparse=True)


def gcn_epoch(inputs, mode):
    """Sparse features; the normalised graph is kept from step to step."""
    x, on = tensor(inputs["x"]).to_sparse_csr(), graph(inputs, mode)
    seen, labels = tensor(inputs["seen"]), tensor(inputs["labels"])
    width, classes, rate = int(inputs["width"]), int(inputs["classes"]), float(inputs["dropout"])
    net = torch.nn.ModuleDict({"first": geometric.GCNConv(x.shape[1], width, cached=True),
                               "second": geometric.GCNConv(width, classes, cached=True)})
    net.load_state_dict({name: tensor(value) for name, value in inputs.items() if is_parameter(name)})
    named = dict(net.named_parameters())
    net["first"].lin = SparseLinear(net["first"].lin.weight)

    def loss():
        h = F.relu(net["first"](dropped(x, rate, net.training), on))
        return F.cross_entropy(net["second"](F.dropout(h, rate, net.training), on)[seen], labels)

    net.eval()
    made = descent(named, torch.compile(loss) if mode == "compile" else loss)
    net.train()
    return made


def graph(inputs, mode):
    """Edges [2, edges], or the matrix whose row i holds the sources of i."""
    edges, nodes = tensor(inputs["edges"]), len(inputs["x"])
    return to_torch_csr_tensor(edges.flip(0), size=(nodes, nodes)) if mode == "csr" else edges


def layer_on_graph(make):
    """One layer with the gradients of its input and its parameters; make(inputs, width in, width out)."""

    def made(inputs, mode):
        x, upstream, on = tensor(inputs["x"]).requires_grad_(), tensor(inputs["upstream"]), graph(inputs, mode)
        layer = make(inputs, x.shape[1], upstream.shape[1])
        layer.load_state_dict({name: tensor(inputs[name]) for name in layer.state_dict()})
        return outputs(layer, dict(layer.named_parameters()), x, upstream, on, mode)

    return made


def outputs(layer, parameters, x, upstream, on, mode):
    run = torch.compile(layer) if mode == "compile" else layer
    named = {"x": x, **parameters}

    def step():
        y = run(x, on)
        return {"y": y, **{"d_" + name: slope for name, slope in
                           zip(named, torch.autograd.grad(y, list(named.values()), upstream))}}

    return step


def gat_layer(inputs, mode):
    x, upstream, heads = tensor(inputs["x"]).requires_grad_(), tensor(inputs["upstream"]), int(inputs["heads"])
    layer = gat_conv(x.shape[1], upstream.shape[1] // heads, heads, 0, {
        name: tensor(inputs[name]) for name in ("weight", "att_src", "att_dst", "bias")})
    return outputs(layer, ours(layer), x, upstream, graph(inputs, mode), mode)


def perceptron(width_in, width):
    return torch.nn.Sequential(torch.nn.Linear(width_in, width), torch.nn.ReLU(), torch.nn.Linear(width, width))


def sampled_sage(inputs, mode):
    """Steps on batches of the library's own loader; compared on all neighbours of the first seeds."""
    x, labels, classes = tensor(inputs["x"]), tensor(inputs["labels"]), int(inputs["classes"])
    data = Data(x=x, edge_index=tensor(inputs["edges"]), y=labels)
    net = geometric.GraphSAGE(x.shape[1], int(inputs["width"]), 2, classes)
    parameters = {name: tensor(value) for name, value in inputs.items() if is_parameter(name)}
    net.load_state_dict({name.replace("first.", "convs.0.").replace("second.", "convs.1."): value
                         for name, value in parameters.items()})
    named = {name.replace("convs.0.", "first.").replace("convs.1.", "second."): leaf
             for name, leaf in net.named_parameters()}
    compared = torch.arange(int(inputs["compared"]))
    whole = NeighborLoader(data, [-1, -1], compared, batch_size=len(compared))
    loader = NeighborLoader(data, [10, 10], batch_size=int(inputs["batch"]), shuffle=True)
    batches = itertools.chain(whole, itertools.chain.from_iterable(itertools.repeat(loader)))

    def loss():
        batch = next(batches)
        scores = net(batch.x, batch.edge_index)[:batch.batch_size]
        return F.cross_entropy(scores, batch.y[:batch.batch_size])

    return descent(named, loss)


KINDS = {
    "gat_epoch": gat_epoch,
    "gat_epoch_sparse": gat_epoch_sparse,
    "gcn_epoch": gcn_epoch,
    "gat_layer": gat_layer,
    "gcn_layer": layer_on_graph(lambda inputs, width_in, width: geometric.GCNConv(width_in, width, cached=True)),
    "sage_layer": layer_on_graph(lambda inputs, width_in, width: geometric.SAGEConv(width_in, width)),
    "gin_layer": layer_on_graph(
        lambda inputs, width_in, width: geometric.GINConv(perceptron(width_in, width), train_eps=True)),
    "transformer_layer": layer_on_graph(lambda inputs, width_in, width: geometric.TransformerConv(
        width_in, width // int(inputs["heads"]), int(inputs["heads"]))),
    "sampled_sage": sampled_sage,
}
