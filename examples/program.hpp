#pragma once
// What every program of this folder shares. A program states its options once and does its work; seed, threads, record,
// profile, signals, exit codes and a standard output that cannot be written are seen to here:
//
//     int main(int argc, char** argv) {
//       examples::Program program("name", "What it does.");
//       Index rounds = 100;
//       program.whole("--rounds", rounds, "rounds of training", 1);
//       return program.run(argc, argv, [&] { ... program.record.add(...); });
//     }
//
// A program that is linked with graft::mpi may be started by mpirun: its work passes `ranks()` on to what it trains and
// tests, and is the same in all ranks otherwise. What they print is seen of rank 0 only, which alone writes.
//
// Exit codes: 0, 2 for what the user can put right (options, files), 130 after Ctrl-C, 1 for everything else.

#include <fcntl.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <new>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "graft/graft.hpp"  // with it ops come from graft::compiled where a program links that
#include "graft/core/stop.hpp"
#include "graft/evaluate/report.hpp"
#include "graft/io/file.hpp"
#include "graft/protocol/transport.hpp"
#include "graft/train/checkpoints.hpp"
#include "graft/train/train.hpp"
#include "options.hpp"

#ifdef GRAFT_WITH_MPI
#include "graft/protocol/mpi_transport.hpp"
#endif

#define EXAMPLES_TEXT_(text) #text
#define EXAMPLES_TEXT(macro) EXAMPLES_TEXT_(macro)

namespace examples {

class Program {
 public:
  std::uint64_t seed = 1;
  int threads = 0;
  bool quiet = false, resume = false;
  std::string json, picture, report, checkpoint, profile = "quick";
  Record record;

  Program(const std::string& name, std::string about) : record(name), name_(name), about_(std::move(about)) {}
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  // Options. Each goes to the command line, --help, the record, and the identity of checkpoints.

  /// A whole number from `low` to `high`.
  Option& whole(const char* name, Index& value, const char* text, Index low, Index high = 1000000000) {
    return number(name, &value, text, static_cast<double>(low), static_cast<double>(high));
  }
  /// A number from `low` to `high`.
  Option& real(const char* name, double& value, const char* text, double low, double high) {
    return number(name, &value, text, low, high);
  }
  Option& flag(const char* name, bool& value, const char* text) { return options_.add(name, &value, text); }
  Option& word(const char* name, std::string& value, std::vector<std::string> choices, const char* text) {
    Option& option = options_.add(name, &value, text);
    option.choices = std::move(choices);
    return option;
  }
  /// A file that is read. Its name is no part of the identity of checkpoints: add its content.
  Option& file(const char* name, std::string& value, const char* text) {
    Option& option = options_.add(name, &value, text);
    option.is_file = true;
    option.in_identity = false;
    return option;
  }
  Option& names(const char* name, std::vector<std::string>& value, const char* text) {
    return options_.add(name, &value, text);
  }
  /// --model NAME,..., of the names that `value` holds now.
  void models(std::vector<std::string>& value) { names("--model", value, "models that are compared").choices = value; }
  /// --checkpoint FOLDER and --resume, of a program that trains.
  void checkpoints() {
    options_.add("--checkpoint", &checkpoint, "folder for checkpoints, made if need be").in_identity = false;
    options_.add("--resume", &resume, "continue from the checkpoints in that folder").in_identity = false;
  }

  /// --picture FILE.svg, of a program that has something to show: `text` says what. The work writes `picture` unless it
  /// is empty.
  void pictures(const char* text) { options_.add("--picture", &picture, text).in_identity = false; }
  /// --report FILE.html, of a program that tells of its work in a page. The work calls `write_report`.
  void reports() { options_.add("--report", &report, "file for a page about the run, .html").in_identity = false; }

  // Inside the work.

  bool full() const { return profile == "full"; }
  /// Asks for the end: looked at by `train` and `episode_figures`.
  static const StopFlag* stop() { return &stop_; }
  /// The processes that do this work together; null: this one alone.
  Transport* ranks() const { return ranks_.get(); }
  /// A training of the program's that ends with it and is shared by its ranks.
  TrainOptions train_options(const std::string& name, Index steps) const {
    return {.name = name, .steps = steps, .quiet = quiet, .stop = stop(), .ranks = ranks()};
  }
  /// What training depends on: the options, as they are now. The work adds the content of its data.
  Identity identity() const {
    Identity identity;
    for (const Option& option : options_.list())
      if (option.in_identity) identity.add(option.name.substr(2), to_json(option.value()));
    return identity;
  }
  /// The checkpoints of these training runs, in the folder that was asked for if one was; claims it.
  Checkpoints open_checkpoints(const Identity& identity, const std::vector<std::string>& runs) const {
    agree("options or data", identity.text());
    if (checkpoint.empty()) return {};
    for (const std::string& run : runs) keep(checkpoint + "/" + run + ".npz", "a checkpoint");
    keep(checkpoint + "/in-use", "the claim on the checkpoints");
    return Checkpoints(checkpoint, resume, identity, runs, ranks());
  }
  /// Throws UsageError if something that is written would replace this file.
  void keep(const std::string& path, const std::string& what) const {
    for (const auto& [option, file] : outputs())
      if (!file->empty() && same_file(*file, path))
        throw UsageError(std::string(option) + ": " + *file + " is " + what + ", " + path);
  }
  /// Throws UsageError if something that is written would lie in this folder, whose files are the work's own.
  void keep_folder(const std::string& folder, const std::string& what) const {
    std::error_code ignored;  // a folder that is not there yet
    const auto own = std::filesystem::weakly_canonical(folder, ignored);
    for (const auto& [option, file] : outputs())
      if (!folder.empty() && !file->empty() &&
          std::filesystem::weakly_canonical(*file, ignored).parent_path() == own)
        throw UsageError(std::string(option) + ": " + *file + " is in the folder of " + what + ", " + folder);
  }
  /// Writes the page about the run, if one was asked for, with what it was made from and what it cost at its end.
  void write_report(HtmlReport page) const {
    if (report.empty()) return;
    std::vector<std::pair<std::string, std::string>> list;
    for (const Option& option : options_.list())
      if (!is_own(option)) list.emplace_back(option.name, option.text_of_value());
    page.section("Configuration").values(list);
    char seconds[32], mebibytes[32];
    std::snprintf(seconds, sizeof seconds, "%.1f", record.seconds());
    std::snprintf(mebibytes, sizeof mebibytes, "%.0f", static_cast<double>(peak_bytes()) / (1 << 20));
    page.section("Cost").values({{"seconds in all", seconds},
                                 {"peak memory, MiB", mebibytes},
                                 {"threads", std::to_string(graft::threads())},
                                 {"processes", std::to_string(ranks() ? ranks()->ranks() : 1)},
                                 {"seeds", std::to_string(seed)},
                                 {"machine", machine_name()}});
    page.write(report);
  }

  // The run.

  /// Reads the options, does `work()`, writes the record; returns the exit code.
  template <class Work>
  int run(int argc, char** argv, Work work) {
    try {
      begin();
      if (options_.parse(argc, argv)) {
        std::fputs(options_.help(name_, about_).c_str(), stdout);
      } else {
        check();
        work();
        finish();
      }
      flush_output();
      ranks_.reset();
      return 0;
    } catch (const UsageError& error) {
      return end_with(2, error.what());
    } catch (const FileError& error) {
      return end_with(2, error.what());
    } catch (const RankLost& error) {
      return end_with(stop_.requested() ? 130 : 1, error.what(), true);
    } catch (const Stopped& error) {
      return end_with(130, error.what(), true);
    } catch (const std::bad_alloc&) {
      return end_with(1, "out of memory after " + std::to_string(peak_bytes() >> 20) +
                             " MiB: take fewer threads, smaller images or smaller episodes");
    } catch (const std::exception& error) {
      return end_with(1, error.what());
    }
  }

 private:
  /// The files that are written, with their options.
  std::vector<std::pair<const char*, const std::string*>> outputs() const {
    return {{"--json", &json}, {"--picture", &picture}, {"--report", &report}};
  }
  Option& number(const char* name, Option::Place place, const char* text, double low, double high) {
    Option& option = options_.add(name, place, text);
    option.low = low;
    option.high = high;
    return option;
  }

  static void note_stop(int number) {
    stop_.request();
    std::signal(number, SIG_DFL);  // a second one ends at once
  }
  void join_ranks() {
#ifdef GRAFT_WITH_MPI
    if (!MpiTransport::launched()) return;
    ranks_ = std::make_unique<MpiTransport>(&stop_);
    std::signal(SIGTERM, note_stop);  // what the launcher sends when a rank is killed: rank 0 saves its state
    if (ranks_->leads()) return;
    if (!std::freopen("/dev/null", "w", stdout)) throw FileError("graft: /dev/null: cannot be opened");
#else
    const char* size = std::getenv("OMPI_COMM_WORLD_SIZE");
    if (!size) size = std::getenv("PMI_SIZE");
    if (size && std::atoi(size) > 1) throw UsageError("is one of several processes, but was built without MPI");
#endif
  }
  /// Throws UsageError in all ranks unless they gave the same text.
  void agree(const std::string& what, const std::string& text) const {
    if (!ranks_) return;
    try {
      ranks_->agree(what, text);
    } catch (const RanksDiffer& error) {
      const std::string words = error.what();
      throw UsageError(words.substr(words.find(what), words.find('\n') - words.find(what)));
    }
  }

  void begin() {
    // A file that is opened while a standard stream is closed would take the stream's number, and what is printed would
    // go into it.
    for (int stream : {0, 1, 2}) {
      if (::fcntl(stream, F_GETFD) >= 0) continue;
      if (::open("/dev/null", O_RDWR) == 1) throw UsageError("standard output is closed");
    }
    std::signal(SIGPIPE, SIG_IGN);  // a reader that goes away is an error of the write
    std::signal(SIGINT, note_stop);
    join_ranks();
    number("--seed", &seed, "seed of everything that is drawn", 0, 0x1p64);
    number("--threads", &threads, "threads, 0 for all; results do not depend on them", 0, 4096).in_identity = false;
    word("--profile", profile, {"quick", "full"}, "how much of everything: for minutes, or for results").in_identity =
        false;
    options_.add("--json", &json, "file for the record of the run").in_identity = false;
    options_.add("--quiet", &quiet, "print results only").in_identity = false;
  }
  void check() {
    set_threads(threads);
    // What the ranks' numbers depend on, but for the content of files.
    std::string lines = "library: " EXAMPLES_TEXT(GRAFT_ABI) "\n";
    for (const Option& option : options_.list())
      if (!option.is_file && !is_own(option)) lines += option.name.substr(2) + ": " + to_json(option.value()) + "\n";
    agree("options", lines);
    if (!leads(ranks())) json = picture = report = "";
    if (resume && checkpoint.empty()) throw UsageError("--resume needs --checkpoint FOLDER");
    for (const auto& [option, file, end] :
         {std::tuple("--picture", &picture, ".svg"), std::tuple("--report", &report, ".html")})
      if (!file->empty() && !file->ends_with(end))
        throw UsageError(std::string(option) + ": " + *file + " does not end with " + end + ", as what is written is");
    if (json.empty() && picture.empty() && report.empty()) return;
    std::error_code ignored;  // they may go into the folder of the checkpoints, which say what is wrong with it
    if (!checkpoint.empty() && !resume) std::filesystem::create_directories(checkpoint, ignored);
    const auto all = outputs();
    for (std::size_t i = 0; i < all.size(); ++i) {
      if (all[i].second->empty()) continue;
      OutputFile::check(*all[i].second);
      for (std::size_t j = 0; j < i; ++j)
        if (!all[j].second->empty() && same_file(*all[i].second, *all[j].second))
          throw UsageError(std::string(all[i].first) + ": " + *all[i].second + " is also " + all[j].first + ", " +
                           *all[j].second);
    }
    for (const Option& option : options_.list())
      if (option.is_file && option.given) keep(*std::get<std::string*>(option.place), "also " + option.name);
  }
  void finish() {
    for (const Option& option : options_.list())
      if (!is_own(option)) record.option(option.name.substr(2), option.value());
    record.add_seed(seed);
    if (!json.empty()) record.write(json);
  }
  /// An option that changes nothing of what is computed.
  static bool is_own(const Option& option) {
    for (const char* name : {"--json", "--picture", "--report", "--quiet", "--threads", "--checkpoint", "--resume"})
      if (option.name == name) return true;
    return false;
  }
  /// Of several ranks rank 0 says why, and another one that ends for a reason of its own.
  int end_with(int code, std::string_view reason, bool was_told = false) {
    constexpr std::string_view library = "graft: ";
    if (reason.substr(0, library.size()) == library) reason.remove_prefix(library.size());
    const auto say = [&](const std::string& who) {
      std::fflush(stdout);
      std::fprintf(stderr, "%s: %s%.*s\n", name_.c_str(), who.c_str(), static_cast<int>(reason.size()),
                   std::data(reason));
    };
    if (leads(ranks())) say("");
    if (!ranks_) return code;
    const Leaving end = ranks_->leave(std::string(reason), 2);
    if (!ranks_->leads() && !was_told && !end.said) say("rank " + std::to_string(ranks_->rank()) + ": ");
    if (!end.all) ranks_->abort(code);
    ranks_.reset();
    return code;
  }

  std::string name_, about_;
  Options options_;
  std::unique_ptr<Transport> ranks_;
  static inline StopFlag stop_;
};

}  // namespace examples
