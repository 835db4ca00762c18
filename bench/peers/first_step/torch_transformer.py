"""The model, data and first training step of tests/programs/transformer.cpp with PyTorch."""
import torch
import torch.nn.functional as F

TOKENS, LENGTH, WIDTH, BATCH = 8, 6, 32, 64


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.token, self.place = torch.nn.Embedding(TOKENS, WIDTH), torch.nn.Embedding(LENGTH, WIDTH)
        layer = torch.nn.TransformerEncoderLayer(WIDTH, 4, 64, 0.0, batch_first=True, norm_first=True)
        self.encoder = torch.nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = torch.nn.Linear(WIDTH, 2)

    def forward(self, sequences):
        return self.head(self.encoder(self.token(sequences) + self.place.weight).mean(1))


torch.manual_seed(1)
sequences = torch.randint(TOKENS, (BATCH, LENGTH))
labels = (sequences[:, 0] == sequences[:, -1]).long()
net = Net()
optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3)
loss = F.cross_entropy(net(sequences), labels)
loss.backward()
torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
optimizer.step()
print(f"first loss {loss.item():.3f}")
