#include "collective/plain_collectives.hpp"

#include <fmt/format.h>

#include <vector>

#include "collective/call.hpp"
#include "collective/layout.hpp"
#include "collective/request.hpp"
#include "reduction/plain.hpp"

namespace cpdcomm::collective {
namespace {

using reduction::Plain;
using reduction::PlainTensor;

[[noreturn]] void invalid(const std::string& message) {
  throw Error(ErrorCode::invalid_argument, message);
}

void check_reduce(const Session& session, std::span<const Tensor> tensors, int root) {
  if (root < 0 || root >= session.size()) {
    invalid(fmt::format("root is {}; the ranks are 0 to {}", root, session.size() - 1));
  }
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const Tensor& tensor = tensors[i];
    if (tensor.data == nullptr && tensor.count != 0) {
      invalid(fmt::format("tensor {} has {} values and no memory", i, tensor.count));
    }
    if (tensor.wire || !tensor.nodes.empty() || tensor.residual != nullptr ||
        tensor.memory != nullptr || tensor.input_exponent != 0 || tensor.output_exponent != 0 ||
        tensor.input_type.value_or(tensor.type) != tensor.type) {
      invalid(
          fmt::format("tensor {} asks for what reduce, which is exact, does not know: data, "
                      "count, type and input are allowed",
                      i));
    }
  }
}

}  // namespace

Report reduce(Session& session, std::span<const Tensor> tensors, int root, ReduceOp op,
              std::chrono::milliseconds timeout) {
  AllreduceOptions options;
  options.op = op;
  Call call = call_of(tensors, options);
  call.collective = Collective::reduce;
  call.options_hash += static_cast<std::uint32_t>(root);
  Report report;
  for (const Tensor& tensor : tensors) report.logical_bytes += tensor.count * size_of(tensor.type);
  session.call(
      call, [&] { return session.plan(); }, timeout, report,
      [&](Run& run) {
        check_reduce(session, tensors, root);
        std::vector<PlainTensor> parts;
        for (const Tensor& tensor : tensors) {
          const void* const source = tensor.input != nullptr ? tensor.input : tensor.data;
          void* const destination = session.rank() == root ? tensor.data : nullptr;
          parts.push_back({source, destination, tensor.count, tensor.type});
        }
        Plain plain(std::move(parts), op, session.size());
        const Layout layout =
            Layout::balanced(plain, session.size(), session.size(), run.plan.segment_bytes);
        session.run(run, {{session.schedules().reduce(root), layout, plain}});
      });
  return report;
}

void plain_reduce_scatter(Session& session, Run& run, const std::byte* parts, const Tensor& share,
                          ReduceOp op) {
  const std::size_t bytes = share.count * size_of(share.type);
  std::vector<PlainTensor> shares;
  for (int rank = 0; rank < session.size(); ++rank) {
    shares.push_back(
        {parts + static_cast<std::size_t>(rank) * bytes, share.data, share.count, share.type});
  }
  Plain plain(std::move(shares), op, session.size());
  const Layout layout = Layout::by_tensor(plain, session.size(), run.plan.segment_bytes);
  session.run(run, {{session.schedules().reduce_scatter(run.plan.algorithm), layout, plain}});
}

}  // namespace cpdcomm::collective
