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
// Exit codes: 0, 2 for what the user can put right (options, files), 130 after Ctrl-C, 1 for everything else.

#include <fcntl.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <filesystem>
#include <new>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "graft/core/stop.hpp"
#include "graft/io/file.hpp"
#include "graft/train/checkpoints.hpp"
#include "options.hpp"

namespace examples {

class Program {
 public:
  std::uint64_t seed = 1;
  int threads = 0;
  bool quiet = false, resume = false;
  std::string json, picture, checkpoint, profile = "quick";
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

  // Inside the work.

  bool full() const { return profile == "full"; }
  /// Asks for the end: looked at by `train` and `episode_figures`.
  static const StopFlag* stop() { return &stop_; }
  /// What training depends on: the options, as they are now. The work adds the content of its data.
  Identity identity() const {
    Identity identity;
    for (const Option& option : options_.list())
      if (option.in_identity) identity.add(option.name.substr(2), to_json(option.value()));
    return identity;
  }
  /// The checkpoints of these training runs, in the folder that was asked for if one was; claims it.
  Checkpoints open_checkpoints(const Identity& identity, const std::vector<std::string>& runs) const {
    if (checkpoint.empty()) return {};
    for (const std::string& run : runs) keep(checkpoint + "/" + run + ".npz", "a checkpoint");
    keep(checkpoint + "/in-use", "the claim on the checkpoints");
    return Checkpoints(checkpoint, resume, identity, runs);
  }
  /// Throws UsageError if the record or the picture would replace this file.
  void keep(const std::string& path, const std::string& what) const {
    const std::pair<const char*, const std::string&> outputs[] = {{"--json", json}, {"--picture", picture}};
    for (const auto& [option, file] : outputs)
      if (!file.empty() && same_file(file, path))
        throw UsageError(std::string(option) + ": " + file + " is " + what + ", " + path);
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
      return 0;
    } catch (const UsageError& error) {
      return end_with(2, error.what());
    } catch (const FileError& error) {
      return end_with(2, error.what());
    } catch (const Stopped& error) {
      return end_with(130, error.what());
    } catch (const std::bad_alloc&) {
      return end_with(1, "out of memory after " + std::to_string(peak_bytes() >> 20) +
                             " MiB: take fewer threads, smaller images or smaller episodes");
    } catch (const std::exception& error) {
      return end_with(1, error.what());
    }
  }

 private:
  Option& number(const char* name, Option::Place place, const char* text, double low, double high) {
    Option& option = options_.add(name, place, text);
    option.low = low;
    option.high = high;
    return option;
  }

  void begin() {
    // A file that is opened while a standard stream is closed would take the stream's number, and what is printed would
    // go into it.
    for (int stream : {0, 1, 2}) {
      if (::fcntl(stream, F_GETFD) >= 0) continue;
      if (::open("/dev/null", O_RDWR) == 1) throw UsageError("standard output is closed");
    }
    std::signal(SIGPIPE, SIG_IGN);  // a reader that goes away is an error of the write
    std::signal(SIGINT, [](int number) {
      stop_.request();
      std::signal(number, SIG_DFL);  // a second Ctrl-C ends at once
    });
    number("--seed", &seed, "seed of everything that is drawn", 0, 0x1p64);
    number("--threads", &threads, "threads, 0 for all; results do not depend on them", 0, 4096).in_identity = false;
    word("--profile", profile, {"quick", "full"}, "how much of everything: for minutes, or for results").in_identity =
        false;
    options_.add("--json", &json, "file for the record of the run").in_identity = false;
    options_.add("--quiet", &quiet, "print results only").in_identity = false;
  }
  void check() {
    set_threads(threads);
    if (resume && checkpoint.empty()) throw UsageError("--resume needs --checkpoint FOLDER");
    if (!picture.empty() && !picture.ends_with(".svg"))
      throw UsageError("--picture: " + picture + " does not end with .svg, as what is written is");
    if (json.empty() && picture.empty()) return;
    std::error_code ignored;  // they may go into the folder of the checkpoints, which say what is wrong with it
    if (!checkpoint.empty() && !resume) std::filesystem::create_directories(checkpoint, ignored);
    for (const std::string& output : {json, picture})
      if (!output.empty()) OutputFile::check(output);
    if (!json.empty() && !picture.empty() && same_file(json, picture))
      throw UsageError("--picture: " + picture + " is also --json, " + json);
    for (const Option& option : options_.list())
      if (option.is_file && option.given) keep(*std::get<std::string*>(option.place), "also " + option.name);
  }
  void finish() {
    for (const Option& option : options_.list())
      if (option.name != "--json" && option.name != "--picture" && option.name != "--quiet" &&
          option.name != "--threads" && option.name != "--checkpoint" && option.name != "--resume")
        record.option(option.name.substr(2), option.value());
    record.add_seed(seed);
    if (!json.empty()) record.write(json);
  }
  int end_with(int code, std::string_view reason) const {
    constexpr std::string_view library = "graft: ";
    if (reason.substr(0, library.size()) == library) reason.remove_prefix(library.size());
    std::fflush(stdout);
    std::fprintf(stderr, "%s: %.*s\n", name_.c_str(), static_cast<int>(reason.size()), std::data(reason));
    return code;
  }

  std::string name_, about_;
  Options options_;
  static inline StopFlag stop_;
};

}  // namespace examples
