#include "agent/objects/stand_in.h"
#include "agent/source/files.h"
#include "agent/source/folder_state.h"
#include "agent/source/source.h"
#include "tests/support/backends.h"
#include "ztunnel/runtime/sync.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

namespace weft::source {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::string config_map(const std::string& name, const std::string& value) {
  return "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: " + name + "}\ndata: {k: " + value +
         "}\n";
}

std::string pod(const std::string& name, const std::string& uid) {
  return "apiVersion: v1\nkind: Pod\nmetadata: {namespace: shop, name: " + name + ", uid: " + uid +
         ", annotations: {own: a}}\nspec: {containers: [{name: c}]}\n";
}

// "ConfigMap/default/a=1", "Pod/shop/web own=a", "-ConfigMap/default/a".
std::string line_of(const Change& change) {
  if (change.object == nullptr) return "-" + change.key.to_string();
  std::string line = change.key.to_string();
  if (const auto* map = change.object->as<crd::core::ConfigMap>()) {
    line += "=" + map->data().at("k");
  }
  const auto& annotations = change.object->metadata().annotations();
  for (const auto& [key, value] :
       std::map<std::string, std::string>(annotations.begin(), annotations.end())) {
    line += " " + key + "=" + value;
  }
  return line;
}

std::vector<std::string> lines_of(const std::vector<Change>& changes) {
  std::vector<std::string> lines;
  for (const Change& change : changes) lines.push_back(line_of(change));
  return lines;
}

class Folder {
 public:
  Folder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "weft-source.XXXXXX").string();
    EXPECT_NE(::mkdtemp(pattern.data()), nullptr);
    path_ = pattern;
  }
  ~Folder() { std::filesystem::remove_all(path_); }

  const std::string& path() const { return path_; }
  std::string file(const std::string& name) const { return path_ + "/" + name; }
  void write_in_place(const std::string& name, const std::string& text) const {
    std::ofstream(file(name)) << text;
  }
  void put(const std::string& name, const std::string& text) const {
    ASSERT_TRUE(write_file(file(name), text));
  }
  void remove(const std::string& name) const { std::filesystem::remove(file(name)); }

 private:
  std::string path_;
};

// A source that is watched on a loop; runs the loop until it has said something.
class Watched {
 public:
  Watched(runtime::Loop& loop, const Folder& folder) : loop_(loop) {
    auto made = make_folder_source(loop, folder.path());
    EXPECT_TRUE(made) << made.error().to_string();
    source_ = std::move(*made);
    tasks_.spawn(source_->watch(
        [this](std::vector<Change> changes) {
          batches_.push_back(lines_of(changes));
          loop_.stop();
        },
        [this](const Error& error) {
          errors_.push_back(error.to_string());
          loop_.stop();
        }));
  }
  ~Watched() {
    source_->stop();
    runtime::start(stop_when_joined(tasks_, loop_));
    while (tasks_.running() > 0) loop_.run();
  }

  // The next batch; errors do not count as one.
  std::vector<std::string> next() {
    run_while([this] { return batches_.empty(); });
    if (batches_.empty()) return {"(nothing came)"};
    std::vector<std::string> batch = std::move(batches_.front());
    batches_.erase(batches_.begin());
    return batch;
  }
  std::vector<std::string> next_errors() {
    run_while([this] { return errors_.empty(); });
    return std::exchange(errors_, {});
  }
  void annotate(const std::string& name, const std::string& uid, const std::string& key,
                const std::string& value) {
    tasks_.spawn(annotate_task(name, uid, key, value));
  }
  size_t waiting_batches() const { return batches_.size(); }
  const std::vector<std::string>& errors() const { return errors_; }

 private:
  runtime::Task<void> annotate_task(std::string name, std::string uid, std::string key,
                                    std::string value) {
    const auto done = co_await source_->annotate_pod("shop", name, uid, key, value);
    EXPECT_TRUE(done) << done.error().to_string();
  }
  static runtime::Task<void> stop_when_joined(runtime::TaskScope& tasks, runtime::Loop& loop) {
    co_await tasks.join();
    loop.stop();
  }
  template <class Condition>
  void run_while(Condition condition) {
    bool late = false;
    const auto timer = loop_.schedule(std::chrono::seconds(20), [&] {
      late = true;
      loop_.stop();
    });
    while (condition() && !late) loop_.run();
    loop_.unschedule(timer);
    EXPECT_FALSE(late) << "inotify told nothing";
  }

  runtime::Loop& loop_;
  std::unique_ptr<Source> source_;
  runtime::TaskScope tasks_;
  std::vector<std::vector<std::string>> batches_;
  std::vector<std::string> errors_;
};

class FolderSource : public ::testing::TestWithParam<runtime::Backend> {
 protected:
  void SetUp() override {
    auto loop = runtime::Loop::create(GetParam());
    if (!loop) GTEST_SKIP() << loop.error().to_string();
    loop_ = std::move(*loop);
  }

  std::unique_ptr<runtime::Loop> loop_;
  Folder folder_;
};

TEST_P(FolderSource, TheFirstBatchIsEverything) {
  folder_.put("b.yaml", config_map("b", "two"));
  folder_.put("a.json", R"({"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"},)"
                        R"("data":{"k":"one"}})");
  folder_.put(".hidden.yaml", config_map("hidden", "x"));
  folder_.put("notes.txt", "nothing");
  std::filesystem::create_directory(folder_.file("folder.yaml"));
  Watched watched(*loop_, folder_);
  EXPECT_THAT(watched.next(), ElementsAre("ConfigMap/default/a=one", "ConfigMap/default/b=two"));
  EXPECT_THAT(watched.errors(), IsEmpty());
}

TEST_P(FolderSource, AnEmptyFolderIsAnEmptyBatch) {
  Watched watched(*loop_, folder_);
  EXPECT_EQ(watched.waiting_batches(), 1u);
  EXPECT_THAT(watched.next(), IsEmpty());
}

TEST_P(FolderSource, FollowsTheFolder) {
  Watched watched(*loop_, folder_);
  watched.next();
  folder_.put("a.yaml", config_map("a", "one"));
  EXPECT_THAT(watched.next(), ElementsAre("ConfigMap/default/a=one"));
  folder_.write_in_place("a.yaml", config_map("a", "two"));
  EXPECT_THAT(watched.next(), ElementsAre("ConfigMap/default/a=two"));
  // Another object in the same file: one goes, one comes.
  folder_.put("a.yaml", config_map("b", "one"));
  EXPECT_THAT(watched.next(), ElementsAre("-ConfigMap/default/a", "ConfigMap/default/b=one"));
  std::filesystem::rename(folder_.file("a.yaml"), folder_.file("c.yaml"));
  folder_.put("d.yaml", config_map("d", "one"));
  EXPECT_THAT(watched.next(), ElementsAre("ConfigMap/default/d=one"));  // b has only moved
  folder_.remove("c.yaml");
  EXPECT_THAT(watched.next(), ElementsAre("-ConfigMap/default/b"));
  std::filesystem::rename(folder_.file("d.yaml"), folder_.file("d.old"));
  EXPECT_THAT(watched.next(), ElementsAre("-ConfigMap/default/d"));
  EXPECT_THAT(watched.errors(), IsEmpty());
}

TEST_P(FolderSource, WhatHappenedTogetherIsOneBatch) {
  Watched watched(*loop_, folder_);
  watched.next();
  for (const char* name : {"a", "b", "c"}) {
    folder_.put(std::string(name) + ".yaml", config_map(name, "one"));
  }
  folder_.remove("b.yaml");
  EXPECT_THAT(watched.next(), ElementsAre("ConfigMap/default/a=one", "ConfigMap/default/c=one"));
}

TEST_P(FolderSource, AMalformedFileKeepsItsLastGoodObjects) {
  folder_.put("a.yaml", config_map("a", "one") + "---\n" + config_map("b", "one"));
  Watched watched(*loop_, folder_);
  EXPECT_THAT(watched.next(), ElementsAre("ConfigMap/default/a=one", "ConfigMap/default/b=one"));
  folder_.put("a.yaml", config_map("a", "two") + "---\n" + config_map("b", "[3]"));
  EXPECT_THAT(watched.next_errors(),
              ElementsAre("ConfigMap/default/b: data[k]: expected a string, got a list"));
  EXPECT_EQ(watched.waiting_batches(), 0u);  // also a is as it was
  folder_.put("a.yaml", "a: [\n");
  EXPECT_THAT(watched.next_errors(), ElementsAre(HasSubstr("a.yaml: line ")));
  folder_.put("a.yaml", config_map("a", "two"));
  EXPECT_THAT(watched.next(), ElementsAre("ConfigMap/default/a=two", "-ConfigMap/default/b"));
  // Malformed and then gone: gone.
  folder_.put("a.yaml", "a: [\n");
  EXPECT_THAT(watched.next_errors(), ElementsAre(HasSubstr("a.yaml: line ")));
  folder_.remove("a.yaml");
  EXPECT_THAT(watched.next(), ElementsAre("-ConfigMap/default/a"));
}

TEST_P(FolderSource, OneObjectInTwoFiles) {
  folder_.put("b.yaml", config_map("x", "late"));
  Watched watched(*loop_, folder_);
  EXPECT_THAT(watched.next(), ElementsAre("ConfigMap/default/x=late"));
  folder_.put("a.yaml", config_map("x", "first"));
  EXPECT_THAT(watched.next(), ElementsAre("ConfigMap/default/x=first"));
  EXPECT_THAT(watched.next_errors(),
              ElementsAre("ConfigMap/default/x: is in " + folder_.file("b.yaml") + " and in " +
                          folder_.file("a.yaml") + "; the one in a.yaml counts"));
  folder_.remove("a.yaml");
  EXPECT_THAT(watched.next(), ElementsAre("ConfigMap/default/x=late"));
}

TEST_P(FolderSource, AnnotationsLieOverThePod) {
  folder_.put("web.yaml", pod("web", "u1"));
  Watched node(*loop_, folder_);
  Watched control(*loop_, folder_);
  EXPECT_THAT(node.next(), ElementsAre("Pod/shop/web own=a"));
  EXPECT_THAT(control.next(), ElementsAre("Pod/shop/web own=a"));
  node.annotate("web", "u1", "live", "enabled");
  EXPECT_THAT(node.next(), ElementsAre("Pod/shop/web live=enabled own=a"));
  EXPECT_THAT(control.next(), ElementsAre("Pod/shop/web live=enabled own=a"));
  node.annotate("web", "u1", "own", "b");
  EXPECT_THAT(control.next(), ElementsAre("Pod/shop/web live=enabled own=b"));
  // For another incarnation of the pod: nothing to tell. What follows is told.
  node.annotate("web", "u0", "live", "stale");
  node.annotate("web", "u1", "live", "");
  EXPECT_THAT(control.next(), ElementsAre("Pod/shop/web own=b"));
  node.annotate("web", "u1", "own", "");
  EXPECT_THAT(control.next(), ElementsAre("Pod/shop/web"));  // hides the manifest's as well
  node.annotate("web", "u1", "live", "again");
  EXPECT_THAT(control.next(), ElementsAre("Pod/shop/web live=again"));
  // A later source finds it.
  Watched restarted(*loop_, folder_);
  EXPECT_THAT(restarted.next(), ElementsAre("Pod/shop/web live=again"));
  // The pod comes back with another uid: its predecessor's annotations are not its own.
  folder_.put("web.yaml", pod("web", "u2"));
  EXPECT_THAT(control.next(), ElementsAre("Pod/shop/web own=a"));
}

TEST_P(FolderSource, AnnotationsOfPodsThatAreGoneAreTakenAway) {
  folder_.put("web.yaml", pod("web", "u1"));
  Watched watched(*loop_, folder_);
  watched.next();
  watched.annotate("web", "u1", "live", "enabled");
  watched.next();
  const std::string file = folder_.file(".annotations/shop.web.u1.json");
  EXPECT_TRUE(std::filesystem::exists(file));
  folder_.remove("web.yaml");
  EXPECT_THAT(watched.next(), ElementsAre("-Pod/shop/web"));
  EXPECT_FALSE(std::filesystem::exists(file));
}

TEST_P(FolderSource, AMalformedAnnotationFileIsReported) {
  folder_.put("web.yaml", pod("web", "u1"));
  std::filesystem::create_directory(folder_.file(".annotations"));
  Watched watched(*loop_, folder_);
  watched.next();
  for (const char* text : {"{", "{}", R"({"namespace":"shop","name":"web","uid":"u1"})",
                           R"({"namespace":"shop","name":"web","uid":"u1","annotations":{"a":1}})",
                           R"({"namespace":"shop","name":"web","uid":"other","annotations":{}})",
                           R"({"namespace":"shop","name":"../web","uid":"u1","annotations":{}})"}) {
    folder_.put(".annotations/shop.web.u1.json", text);
    EXPECT_THAT(watched.next_errors(), ElementsAre(HasSubstr(".annotations/shop.web.u1.json: ")))
        << text;
  }
  // The next annotation replaces it.
  watched.annotate("web", "u1", "live", "enabled");
  EXPECT_THAT(watched.next(), ElementsAre("Pod/shop/web live=enabled own=a"));
}

TEST_P(FolderSource, NamesThatAreNoPodsAreRefused) {
  auto source = make_folder_source(*loop_, folder_.path());
  ASSERT_TRUE(source);
  runtime::TaskScope tasks;
  bool refused = false;
  const auto annotate = [](Source& to, bool& out, std::string ns, std::string name,
                           std::string uid) -> runtime::Task<void> {
    out = !co_await to.annotate_pod(std::move(ns), std::move(name), std::move(uid), "k", "v");
  };
  for (const auto& [ns, name, uid] :
       {std::tuple("..", "web", "u1"), std::tuple("shop", "a/b", "u1"),
        std::tuple("shop", "web", "../u1"), std::tuple("", "web", "u1")}) {
    tasks.spawn(annotate(**source, refused, ns, name, uid));
    EXPECT_TRUE(refused) << ns << " " << name << " " << uid;
  }
  EXPECT_FALSE(std::filesystem::exists(folder_.file(".annotations")));
}

TEST_P(FolderSource, TheFolderMustBeThere) {
  const auto source = make_folder_source(*loop_, folder_.file("nowhere"));
  ASSERT_FALSE(source);
  EXPECT_EQ(source.error().code, Code::kNotFound);
  EXPECT_EQ(
      source.error().to_string(),
      "watching the folder of objects " + folder_.file("nowhere") + ": No such file or directory");
}

TEST_P(FolderSource, AFolderThatIsRemovedIsReportedAndItsObjectsStay) {
  folder_.put("a.yaml", config_map("a", "one"));
  Watched watched(*loop_, folder_);
  watched.next();
  std::filesystem::rename(folder_.path(), folder_.path() + ".moved");
  EXPECT_THAT(watched.next_errors(), ElementsAre(HasSubstr("the folder was removed")));
  EXPECT_EQ(watched.waiting_batches(), 0u);
  std::filesystem::rename(folder_.path() + ".moved", folder_.path());
}

BOTH_BACKENDS(FolderSource);

// What happens after events were lost.
TEST(FolderState, ARescanFindsEverythingThatChanged) {
  Folder folder;
  folder.put("a.yaml", config_map("a", "one"));
  folder.put("b.yaml", config_map("b", "one"));
  folder.put("web.yaml", pod("web", "u1"));
  FolderState state(folder.path());
  state.rescan();
  EXPECT_EQ(state.take_changes().size(), 3u);
  folder.put("a.yaml", config_map("a", "two"));
  folder.remove("b.yaml");
  folder.put("c.yaml", config_map("c", "one"));
  Overlay overlay = *Overlay::for_pod("shop", "web", "u1");
  overlay.annotations["live"] = "enabled";
  ASSERT_TRUE(state.store_overlay(overlay));
  state.rescan();
  EXPECT_THAT(lines_of(state.take_changes()),
              ElementsAre("ConfigMap/default/a=two", "-ConfigMap/default/b",
                          "ConfigMap/default/c=one", "Pod/shop/web live=enabled own=a"));
  folder.remove(".annotations/shop.web.u1.json");
  state.rescan();
  EXPECT_THAT(lines_of(state.take_changes()), ElementsAre("Pod/shop/web own=a"));
  state.rescan();
  EXPECT_THAT(state.take_changes(), IsEmpty());
  EXPECT_THAT(state.take_errors(), IsEmpty());
}

TEST(FolderState, TheSameTextInOtherWordsIsNoChange) {
  Folder folder;
  folder.put("a.yaml", config_map("a", "one"));
  FolderState state(folder.path());
  state.rescan();
  state.take_changes();
  folder.put("a.yaml", "# a comment\n" + config_map("a", "\"one\""));
  state.refresh("a.yaml");
  EXPECT_THAT(state.take_changes(), IsEmpty());
}

TEST(Files, AreBoundedAndRegular) {
  Folder folder;
  folder.put("big.yaml", std::string((8 << 20) + 1, '#'));
  const auto big = read_file(folder.file("big.yaml"));
  ASSERT_FALSE(big);
  EXPECT_EQ(big.error().code, Code::kLimit);
  ASSERT_EQ(::mkfifo(folder.file("pipe.yaml").c_str(), 0600), 0);
  EXPECT_FALSE(read_file(folder.file("pipe.yaml")));  // and does not wait for a writer
  EXPECT_EQ(read_path(folder.path()).errors.size(), 2u);
}

TEST(ReadPath, GivesAllObjectsOrAllMistakes) {
  Folder folder;
  folder.put("a.yaml", config_map("a", "one"));
  EXPECT_EQ(read_path(folder.path()).objects.size(), 1u);
  EXPECT_EQ(read_path(folder.file("a.yaml")).objects.size(), 1u);
  folder.put("b.yaml", config_map("b", "1"));
  folder.put("c.yaml", "{");
  const ReadOnce read = read_path(folder.path());
  EXPECT_THAT(read.objects, IsEmpty());
  EXPECT_EQ(read.errors.size(), 2u);
}

std::string security_policy(const std::string& name, const std::string& spec) {
  return "---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\n"
         "metadata: {namespace: shop, name: " +
         name + "}\nspec: " + spec + "\n";
}

// Nobody knows whom they were to refuse: objects/stand_in.h says what is in force instead.
TEST(FolderStateTest, PoliciesThatNeverWereGoodHaveStandIns) {
  const Folder folder;
  FolderState state(folder.path());
  const auto look = [&](const std::string& text) {
    folder.put("a.yaml", text);
    state.refresh("a.yaml");
    std::vector<std::string> lines;
    for (const Change& change : state.take_changes()) {
      const bool stands_in = change.object && change.object->metadata().annotations().contains(
                                                  objects::kUnreadableAnnotation);
      lines.push_back((change.object ? "" : "-") + change.key.name +
                      (stands_in ? " unreadable" : ""));
    }
    return lines;
  };
  const std::string bad = security_policy("bad", "{rule: []}");
  const std::string good = security_policy("good", "{rules: [{}]}");
  EXPECT_THAT(look(config_map("m", "v") + good + bad), ElementsAre("bad unreadable", "good"));
  EXPECT_EQ(state.take_errors().size(), 1U);
  EXPECT_THAT(look(bad), ElementsAre("-good"));
  EXPECT_THAT(look(security_policy("bad", "{rules: []}")), ElementsAre("bad"));
  // It was good once: the last good version stays.
  EXPECT_THAT(look(bad + good), IsEmpty());
  EXPECT_THAT(look(good), ElementsAre("-bad", "good"));
}

}  // namespace
}  // namespace weft::source
