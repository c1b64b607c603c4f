#include "collective/tuning/terms.hpp"

#include "collective/tuning/table.hpp"
#include "environment.hpp"

namespace cpdcomm::collective::tuning {

Terms read_terms(const std::string& tuning, bool check) {
  const Environment& said = environment();
  const std::string& name = tuning.empty() ? said.tuning : tuning;
  Terms terms{.check = check || said.check};
  if (name.empty()) return terms;
  terms.table = read_table(name);
  terms.source = name.starts_with('{') ? "given as text" : name;
  // Found wrong here, before a peer waits for it.
  static_cast<void>(parse_table(terms.table, terms.source));
  return terms;
}

}  // namespace cpdcomm::collective::tuning
