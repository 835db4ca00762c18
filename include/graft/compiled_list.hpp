// What the library graft::compiled holds, for one element type, the macro T; included by graft/compiled.hpp alone, once
// for each. A line is the declaration of an op without the names of its arguments. GRAFT_COMPILED_<ROOM> is "extern
// template", in the library's own unit for that room "template". An op that stands on no line is compiled where it is
// used, as all of them are without the library.

// The rows of the elementwise table.
#define GRAFT_UNARY_INSTANCE(op, ...) \
  GRAFT_COMPILED_ELEMENTWISE Tensor<T> detail::unary<row::op##_row>(const Tensor<T>&);
#define GRAFT_INDICATOR_INSTANCE(op, ...) \
  GRAFT_COMPILED_ELEMENTWISE Tensor<T> detail::unary_value<row::op##_row>(const Tensor<T>&);
#define GRAFT_DERIVED_INSTANCE(op, ...) GRAFT_COMPILED_ELEMENTWISE Tensor<T> op(const Tensor<T>&);
#define GRAFT_BINARY_INSTANCE(op, ...)                                                                        \
  GRAFT_COMPILED_ELEMENTWISE Tensor<T> detail::binary<row::op##_row>(const Tensor<T>&, const Tensor<T>&, Site);
#define GRAFT_BINARY_INDICATOR_INSTANCE(op, ...)                                                        \
  GRAFT_COMPILED_ELEMENTWISE Tensor<T> detail::binary_value<row::op##_row>(const Tensor<T>&, const Tensor<T>&, Site);
GRAFT_UNARY_ROWS(GRAFT_UNARY_INSTANCE)
GRAFT_INDICATOR_ROWS(GRAFT_INDICATOR_INSTANCE)
GRAFT_DERIVED_ROWS(GRAFT_DERIVED_INSTANCE)
GRAFT_BINARY_ROWS(GRAFT_BINARY_INSTANCE)
GRAFT_BINARY_INDICATOR_ROWS(GRAFT_BINARY_INDICATOR_INSTANCE)
#undef GRAFT_UNARY_INSTANCE
#undef GRAFT_INDICATOR_INSTANCE
#undef GRAFT_DERIVED_INSTANCE
#undef GRAFT_BINARY_INSTANCE
#undef GRAFT_BINARY_INDICATOR_INSTANCE
GRAFT_COMPILED_ELEMENTWISE Tensor<T> leaky_relu(const Tensor<T>&, double);
GRAFT_COMPILED_ELEMENTWISE Tensor<T> elu(const Tensor<T>&, double);
GRAFT_COMPILED_ELEMENTWISE Tensor<T> clamp(const Tensor<T>&, double, double, Site);
GRAFT_COMPILED_ELEMENTWISE Tensor<T> where(const Tensor<bool>&, const Tensor<T>&, const Tensor<T>&, Site);

// Products and convolutions.
GRAFT_COMPILED_PRODUCTS Tensor<T> matmul(const Tensor<T>&, const Tensor<T>&, MatmulOptions, Site);
GRAFT_COMPILED_PRODUCTS Tensor<T> conv2d(const Tensor<T>&, const Tensor<T>&, ConvOptions, Site);
GRAFT_COMPILED_PRODUCTS Tensor<T> conv2d(const Tensor<T>&, const Tensor<T>&, const Tensor<T>&, ConvOptions, Site);
GRAFT_COMPILED_PRODUCTS Tensor<T> conv2d_input(const Tensor<T>&, const Tensor<T>&, const Shape&, ConvOptions, Site);
GRAFT_COMPILED_PRODUCTS Tensor<T> conv2d_weight(const Tensor<T>&, const Tensor<T>&, const Shape&, ConvOptions, Site);
GRAFT_COMPILED_PRODUCTS BatchNormResult<T> conv_batch_norm_pool(const Tensor<T>&, const Tensor<T>&, const Tensor<T>&,
                                                                const Tensor<T>&, ConvOptions, double, Site);
GRAFT_COMPILED_PRODUCTS Tensor<T> conv_group_norm_pool(const Tensor<T>&, const Tensor<T>&, Index, const Tensor<T>&,
                                                       const Tensor<T>&, ConvOptions, double, Site);

// Layout and indexing.
GRAFT_COMPILED_LAYOUT Tensor<T> reshape(const Tensor<T>&, Shape, Site);
GRAFT_COMPILED_LAYOUT Tensor<T> detail::permuted(const Tensor<T>&, const detail::AxisOrder&, Site);
GRAFT_COMPILED_LAYOUT Tensor<T> permute(const Tensor<T>&, const Axes&, Site);
GRAFT_COMPILED_LAYOUT Tensor<T> transpose(const Tensor<T>&, Site);
GRAFT_COMPILED_LAYOUT Tensor<T> slice(const Tensor<T>&, int, Index, Index, Index, Site);
GRAFT_COMPILED_LAYOUT Tensor<T> pad(const Tensor<T>&, int, Index, Index, Site);
GRAFT_COMPILED_LAYOUT Tensor<T> flip(const Tensor<T>&, int, Site);
GRAFT_COMPILED_LAYOUT Tensor<T> concat(const std::vector<Tensor<T>>&, int, Site);
GRAFT_COMPILED_LAYOUT Tensor<T> stack(const std::vector<Tensor<T>>&, int, Site);
GRAFT_COMPILED_LAYOUT Tensor<T> gather(const Tensor<T>&, const Tensor<std::int64_t>&, int, Site);
GRAFT_COMPILED_LAYOUT Tensor<T> scatter_add(const Tensor<T>&, const Tensor<std::int64_t>&, Index, int, Site);
GRAFT_COMPILED_LAYOUT Tensor<T> take_along(const Tensor<T>&, const Tensor<std::int64_t>&, int, Site);
GRAFT_COMPILED_LAYOUT Tensor<T> segment_sum(const Tensor<T>&, const Tensor<std::int64_t>&, Site);
GRAFT_COMPILED_LAYOUT Tensor<T> segment_broadcast(const Tensor<T>&, const Tensor<std::int64_t>&, Site);
GRAFT_COMPILED_LAYOUT Tensor<T> segment_mean(const Tensor<T>&, const Tensor<std::int64_t>&, Site);
GRAFT_COMPILED_LAYOUT Tensor<T> segment_max(const Tensor<T>&, const Tensor<std::int64_t>&, Site);
GRAFT_COMPILED_LAYOUT Tensor<T> segment_softmax(const Tensor<T>&, const Tensor<std::int64_t>&, Site);

// Sums and other reductions, random numbers.
GRAFT_COMPILED_REDUCTIONS Tensor<T> sum_to(const Tensor<T>&, const Shape&, Site);
GRAFT_COMPILED_REDUCTIONS Tensor<T> broadcast_to(const Tensor<T>&, const Shape&, Site);
GRAFT_COMPILED_REDUCTIONS Tensor<T> sum(const Tensor<T>&, const Axes&, bool, Site);
GRAFT_COMPILED_REDUCTIONS Tensor<T> mean(const Tensor<T>&, const Axes&, bool, Site);
GRAFT_COMPILED_REDUCTIONS Tensor<T> max(const Tensor<T>&, const Axes&, bool, Site);
GRAFT_COMPILED_REDUCTIONS Tensor<T> min(const Tensor<T>&, const Axes&, bool, Site);
GRAFT_COMPILED_REDUCTIONS Tensor<std::int64_t> argmax(const Tensor<T>&, int, bool, Site);
GRAFT_COMPILED_REDUCTIONS Tensor<std::int64_t> argmin(const Tensor<T>&, int, bool, Site);
GRAFT_COMPILED_REDUCTIONS Tensor<T> repeat(const Tensor<T>&, Index, int, Site);
GRAFT_COMPILED_REDUCTIONS Tensor<T> tile(const Tensor<T>&, Index, int, Site);
GRAFT_COMPILED_REDUCTIONS Tensor<T> var(const Tensor<T>&, const Axes&, VarOptions, Site);
GRAFT_COMPILED_REDUCTIONS Tensor<T> stddev(const Tensor<T>&, const Axes&, VarOptions, Site);
GRAFT_COMPILED_REDUCTIONS Tensor<T> norm(const Tensor<T>&, const Axes&, bool, Site);
GRAFT_COMPILED_REDUCTIONS Tensor<T> vector_norm(const Tensor<T>&, double, const Axes&, bool, Site);
GRAFT_COMPILED_REDUCTIONS Tensor<T> logsumexp(const Tensor<T>&, const Axes&, bool, Site);
GRAFT_COMPILED_REDUCTIONS Tensor<T> cumsum(const Tensor<T>&, int, bool, Site);
GRAFT_COMPILED_REDUCTIONS Tensor<T> rand(const Shape&, const Random&, double, double, Site);
GRAFT_COMPILED_REDUCTIONS Tensor<T> randn(const Shape&, const Random&, Site);
GRAFT_COMPILED_REDUCTIONS Tensor<T> dropout(const Tensor<T>&, double, const Random&, Site);

// Norms and pooling.
GRAFT_COMPILED_NORMS Tensor<T> layer_norm(const Tensor<T>&, const Tensor<T>&, const Tensor<T>&, double, Site);
GRAFT_COMPILED_NORMS Tensor<T> layer_norm(const Tensor<T>&, double, Site);
GRAFT_COMPILED_NORMS Tensor<T> rms_norm(const Tensor<T>&, const Tensor<T>&, double, Site);
GRAFT_COMPILED_NORMS Tensor<T> rms_norm(const Tensor<T>&, double, Site);
GRAFT_COMPILED_NORMS Tensor<T> group_norm(const Tensor<T>&, Index, const Tensor<T>&, const Tensor<T>&, double, Site);
GRAFT_COMPILED_NORMS Tensor<T> group_norm(const Tensor<T>&, Index, double, Site);
GRAFT_COMPILED_NORMS Tensor<T> batch_norm(const Tensor<T>&, const Tensor<T>&, const Tensor<T>&, double, Site);
GRAFT_COMPILED_NORMS Tensor<T> batch_norm(const Tensor<T>&, double, Site);
GRAFT_COMPILED_NORMS BatchNormResult<T> batch_norm_with_statistics(const Tensor<T>&, const Tensor<T>&, const Tensor<T>&,
                                                                   double, Site);
GRAFT_COMPILED_NORMS BatchNormResult<T> batch_norm_with_statistics(const Tensor<T>&, double, Site);
GRAFT_COMPILED_NORMS ChannelStatistics<T> batch_statistics(const Tensor<T>&, Site);
GRAFT_COMPILED_NORMS Tensor<T> batch_norm(const Tensor<T>&, const ChannelStatistics<T>&, const Tensor<T>&,
                                          const Tensor<T>&, double, Site);
GRAFT_COMPILED_NORMS Tensor<T> batch_norm(const Tensor<T>&, const ChannelStatistics<T>&, double, Site);
GRAFT_COMPILED_NORMS Tensor<T> max_pool2d(const Tensor<T>&, PoolOptions, Site);
GRAFT_COMPILED_NORMS Tensor<T> avg_pool2d(const Tensor<T>&, PoolOptions, Site);

// Softmax, losses, attention.
GRAFT_COMPILED_ATTENTION Tensor<T> softmax(const Tensor<T>&, int, Site);
GRAFT_COMPILED_ATTENTION Tensor<T> log_softmax(const Tensor<T>&, int, Site);
GRAFT_COMPILED_ATTENTION Tensor<T> cross_entropy(const Tensor<T>&, const Tensor<std::int64_t>&,
                                                 const CrossEntropyOptions<T>&, Site);
GRAFT_COMPILED_ATTENTION Tensor<T> cross_entropy(const Tensor<T>&, const Tensor<T>&, const CrossEntropyOptions<T>&,
                                                 Site);
GRAFT_COMPILED_ATTENTION Tensor<T> mse(const Tensor<T>&, const Tensor<T>&, Reduction, Site);
GRAFT_COMPILED_ATTENTION Tensor<T> binary_cross_entropy_with_logits(const Tensor<T>&, const Tensor<T>&,
                                                                    const BinaryCrossEntropyOptions<T>&, Site);
GRAFT_COMPILED_ATTENTION Tensor<T> scaled_dot_product_attention(const Tensor<T>&, const Tensor<T>&, const Tensor<T>&,
                                                                const AttentionOptions<T>&, Site);
GRAFT_COMPILED_ATTENTION Tensor<T> split_heads(const Tensor<T>&, Index, Site);
GRAFT_COMPILED_ATTENTION Tensor<T> merge_heads(const Tensor<T>&, Site);

// Graphs.
GRAFT_COMPILED_GRAPHS Tensor<T> graph_attention(const Graph&, const Tensor<T>&, const Tensor<T>&, const Tensor<T>&,
                                                const GraphAttentionOptions&, Site);
GRAFT_COMPILED_GRAPHS Tensor<T> graph_self_attention(const Graph&, const Tensor<T>&, const Tensor<T>&, const Tensor<T>&,
                                                     const Tensor<T>&, const GraphAttentionOptions&, Site);
GRAFT_COMPILED_GRAPHS Tensor<T> graph_attention_v2(const Graph&, const Tensor<T>&, const Tensor<T>&, const Tensor<T>&,
                                                   const GraphAttentionOptions&, Site);
GRAFT_COMPILED_GRAPHS Tensor<T> matmul(const SparseMatrix<T>&, const Tensor<T>&, MatmulOptions, Site);
GRAFT_COMPILED_GRAPHS SparseMatrix<T> dropout(const SparseMatrix<T>&, double, const Random&, Site);
GRAFT_COMPILED_GRAPHS Tensor<T> prototypes(const Tensor<T>&, const Tensor<std::int64_t>&, Index, Site);
GRAFT_COMPILED_GRAPHS Tensor<T> squared_distances(const Tensor<T>&, const Tensor<T>&, Site);

// The tape, and the walks of elementwise kernels.
GRAFT_COMPILED_ELEMENTWISE struct detail::TypedNode<T>;
GRAFT_COMPILED_ELEMENTWISE Tensor<T> identity(const Tensor<T>&);
GRAFT_COMPILED_ELEMENTWISE Tensor<T> detail::add_gradients(Tensor<T>, const Tensor<T>&);
GRAFT_COMPILED_ELEMENTWISE void detail::track<T>(const detail::LeafList&, const std::vector<bool>&, bool);
GRAFT_COMPILED_ELEMENTWISE void detail::put_gradients<T>(const detail::LeafList&, std::vector<AnyTensor>&);
GRAFT_COMPILED_ELEMENTWISE void cpu::map_rows(const Shape&, T* const*, const bool*, int, const Tensor<T>* const*, int,
                                              cpu::RowKernel<T>, const void*);

// Layers, with their part in the walk over a model, and what optimisers do to parameters.
#define GRAFT_LAYER_INSTANCE(Layer)      \
  GRAFT_COMPILED_LAYERS struct Layer<T>; \
  GRAFT_COMPILED_LAYERS void detail::gather_leaves(detail::LeafList&, const Layer<T>&);
GRAFT_LAYER_INSTANCE(Linear)
GRAFT_LAYER_INSTANCE(Embedding)
GRAFT_LAYER_INSTANCE(Conv2d)
GRAFT_LAYER_INSTANCE(LayerNorm)
GRAFT_LAYER_INSTANCE(BatchNorm)
GRAFT_LAYER_INSTANCE(ConvBlock)
GRAFT_LAYER_INSTANCE(MultiHeadAttention)
GRAFT_LAYER_INSTANCE(TransformerEncoderLayer)
GRAFT_LAYER_INSTANCE(TransformerEncoder)
GRAFT_LAYER_INSTANCE(Gat)
GRAFT_LAYER_INSTANCE(GatV2)
#undef GRAFT_LAYER_INSTANCE
GRAFT_COMPILED_LAYERS void detail::adam_step<T>(const AdamOptions&, bool, const detail::LeafList&,
                                                const detail::LeafList&, const detail::LeafList&,
                                                const detail::LeafList&, List<std::int64_t>&, double);
