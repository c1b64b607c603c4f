#include "reduction/summation.hpp"

#include "cpdcomm/error.hpp"
#include "reduction/kahan.hpp"
#include "reduction/rounded.hpp"
#include "reduction/wide.hpp"

namespace cpdcomm::reduction {

const Summation& summation_for(Accumulate accumulate) {
  static const Wide wide;
  static const Rounded rounded;
  static const Kahan kahan;
  switch (accumulate) {
    case Accumulate::wide:
      return wide;
    case Accumulate::rounded:
      return rounded;
    case Accumulate::kahan:
      return kahan;
    case Accumulate::exact:
    case Accumulate::majority:
      break;
  }
  throw Error(ErrorCode::invalid_argument,
              "'" + to_string(accumulate) +
                  "' is no sum of floats; allowed are wide, rounded and "
                  "kahan");
}

}  // namespace cpdcomm::reduction
