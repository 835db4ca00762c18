// The one writer of files: what it may replace and what it must write into, links, and which paths are one file.

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <string>
#include <thread>

#include "catch.hpp"
#include "files.hpp"

using namespace graft;

namespace fs = std::filesystem;

TEST_CASE("a link's target is replaced, not the link", "[io]") {
  const Folder folder;
  fs::create_directory(folder.path / "far");
  put(folder / "far/target", "old");
  fs::create_symlink("far/target", folder.path / "link");
  fs::create_symlink("link", folder.path / "link of a link");
  fs::create_symlink("far/new", folder.path / "dangling");
  fs::create_symlink("circle", folder.path / "circle");
  write_text(folder / "link", "new");
  CHECK(fs::is_symlink(folder.path / "link"));
  CHECK(bytes_of(folder / "far/target") == "new");
  write_text(folder / "link of a link", "newer");
  CHECK(bytes_of(folder / "far/target") == "newer");
  OutputFile::check(folder / "dangling");
  CHECK_FALSE(fs::exists(folder.path / "far/new"));
  write_text(folder / "dangling", "made");
  CHECK(bytes_of(folder / "far/new") == "made");
  CHECK_THAT(refusal(folder / "circle", [&] { OutputFile file(folder / "circle"); }), contains("link"));
  CHECK(folder.files() == 5);
}

TEST_CASE("a replaced file keeps its permissions, and files of others stay", "[io]") {
  const Folder folder;
  put(folder / "file", "old");
  put(folder / "file.new", "a stranger's");
  REQUIRE(::chmod((folder / "file").c_str(), 0640) == 0);
  OutputFile::check(folder / "file");
  write_text(folder / "file", "new");
  CHECK(bytes_of(folder / "file") == "new");
  CHECK((fs::status(folder.path / "file").permissions() & fs::perms::all) == fs::perms(0640));
  CHECK(bytes_of(folder / "file.new") == "a stranger's");
  CHECK(folder.files() == 2);
}

TEST_CASE("devices and pipes are written into", "[io]") {
  const Folder folder;
  OutputFile::check("/dev/null");
  write_text("/dev/null", "text");
  struct stat status;
  REQUIRE(::stat("/dev/null", &status) == 0);
  CHECK(S_ISCHR(status.st_mode));
  OutputFile::check("/dev/full");
  CHECK_THAT(refusal("/dev/full", [] { write_text("/dev/full", "text"); }), contains("No space left"));
  REQUIRE(::stat("/dev/full", &status) == 0);
  CHECK(S_ISCHR(status.st_mode));

  const std::string pipe = folder / "pipe";
  REQUIRE(::mkfifo(pipe.c_str(), 0600) == 0);
  OutputFile::check(pipe);  // does not wait for a reader
  std::string seen(4, ' ');
  std::thread reader([&] {
    const int file = ::open(pipe.c_str(), O_RDONLY);
    for (char& c : seen)
      if (::read(file, &c, 1) != 1) c = '?';
    ::close(file);
  });
  write_text(pipe, "text");
  reader.join();
  CHECK(seen == "text");
  CHECK(folder.files() == 1);

  // A descriptor of this process goes on where it is, also where it is a file: what was written before stays.
  const int open_file = ::open((folder / "log").c_str(), O_WRONLY | O_CREAT, 0600);
  REQUIRE(open_file >= 0);
  REQUIRE(::write(open_file, "first ", 6) == 6);
  const std::string name = "/dev/fd/" + std::to_string(open_file);
  OutputFile::check(name);
  write_text(name, "second");
  CHECK(bytes_of(folder / "log") == "first second");
  ::close(open_file);
  CHECK_THAT(refusal(name, [&] { OutputFile::check(name); }), contains("Bad file descriptor"));
  CHECK_THAT(refusal(name, [&] { write_text(name, "third"); }), contains("Bad file descriptor"));
  const int read_only = ::open((folder / "log").c_str(), O_RDONLY);
  CHECK_THAT(refusal("/dev/fd/", [&] { OutputFile::check("/dev/fd/" + std::to_string(read_only)); }),
             contains("Bad file descriptor"));
  ::close(read_only);
}

TEST_CASE("a target that cannot be written is known beforehand", "[io]") {
  const Folder folder;
  CHECK_THAT(refusal(folder.path.string(), [&] { OutputFile::check(folder.path.string()); }),
             contains("is a directory"));
  CHECK_THAT(refusal(folder / "no/file", [&] { OutputFile::check(folder / "no/file"); }), contains("folder"));
  OutputFile::check(folder / "file");
  CHECK(folder.files() == 0);
}

TEST_CASE("paths that lead to one file", "[io]") {
  const Folder folder;
  put(folder / "file", "");
  put(folder / "other", "");
  fs::create_directory(folder.path / "sub");
  fs::create_symlink("file", folder.path / "link");
  fs::create_symlink("later", folder.path / "link to later");
  fs::create_hard_link(folder.path / "file", folder.path / "twin");
  CHECK(same_file(folder / "file", folder / "file"));
  CHECK(same_file(folder / "file", folder / "sub/../file"));
  CHECK(same_file(folder / "file", folder / "link"));
  CHECK(same_file(folder / "file", folder / "twin"));
  CHECK_FALSE(same_file(folder / "file", folder / "other"));
  CHECK_FALSE(same_file(folder / "file", folder / "later"));
  CHECK(same_file(folder / "later", folder / "sub/../later"));
  CHECK(same_file(folder / "later", folder / "link to later"));
  CHECK_FALSE(same_file(folder / "later", folder / "sub/later"));
  CHECK_FALSE(same_file(folder / "missing/later", folder / "missing/later too"));
}
