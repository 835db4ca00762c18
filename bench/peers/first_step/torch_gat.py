"""The model, data and first training step of tests/programs/gat.cpp with PyTorch Geometric."""
import torch
import torch.nn.functional as F
from torch_geometric.nn import GATConv
from torch_geometric.utils import add_self_loops

NODES, GROUPS, FEATURES, LABELLED = 300, 3, 16, 30


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.first = GATConv(FEATURES, 8, heads=4, add_self_loops=False)
        self.second = GATConv(32, GROUPS, heads=2, concat=False, add_self_loops=False)

    def forward(self, x, edges):
        hidden = F.elu(self.first(F.dropout(x, 0.3, self.training), edges))
        return self.second(F.dropout(hidden, 0.3, self.training), edges)


torch.manual_seed(1)
labels = torch.arange(NODES) % GROUPS
probability = torch.where(labels[:, None] == labels[None, :], 0.05, 0.005)
edges, _ = add_self_loops((torch.rand(NODES, NODES) < probability).nonzero().T, num_nodes=NODES)
x = 0.4 * torch.randn(GROUPS, FEATURES)[labels] + torch.randn(NODES, FEATURES)
net = Net()
optimizer = torch.optim.Adam(net.parameters(), lr=5e-3, weight_decay=5e-4)
loss = F.cross_entropy(net(x, edges)[:LABELLED], labels[:LABELLED])
loss.backward()
optimizer.step()
print(f"first loss {loss.item():.3f}")
