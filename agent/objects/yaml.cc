#include "agent/objects/tree.h"

#include <simdjson.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/yaml.h>

#include <map>
#include <set>
#include <sstream>
#include <stdexcept>

namespace weft::objects {

namespace {

constexpr std::string_view kMergeKey = "<<";

// Ends yaml-cpp's parse from within a callback; never leaves this file.
struct Refusal : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// Makes a Tree of yaml-cpp's events. yaml-cpp's own node graph is not used: it resolves no types,
// loses duplicate keys, and an alias bomb is a small graph until somebody walks it. The parser
// recurses only between our callbacks, so our depth bound is its depth bound.
class Builder final : public YAML::EventHandler {
 public:
  void OnDocumentStart(const YAML::Mark&) override {
    root_ = Tree();
    anchors_.clear();
  }
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    Tree null;
    null.text = "null";
    finish(at(mark, std::move(null)), anchor, false);
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    const auto found = anchors_.find(anchor);
    if (found == anchors_.end()) throw Refusal("an alias stands inside its own anchor");
    count(found->second, frames_.size());
    finish(at(mark, found->second), 0, false);
  }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    finish(at(mark, scalar(tag, value)), anchor, tag == "?");
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    open(at(mark, Tree::list()), tag, anchor);
  }
  void OnSequenceEnd() override { close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    open(at(mark, Tree::map()), tag, anchor);
  }
  void OnMapEnd() override {
    merge(frames_.back());
    close();
  }

  Tree take() { return std::move(root_); }
  int line() const { return line_; }

 private:
  struct Frame {
    Tree tree;
    YAML::anchor_t anchor = 0;
    bool has_key = false;
    bool key_is_merge = false;
    std::string key;
    std::vector<Tree> merges;
  };

  static Tree scalar(const std::string& tag, const std::string& value) {
    if (tag == "!" || tag == "tag:yaml.org,2002:str") return Tree::of(value);
    if (tag == "?" || tag == "tag:yaml.org,2002:int" || tag == "tag:yaml.org,2002:float" ||
        tag == "tag:yaml.org,2002:bool" || tag == "tag:yaml.org,2002:null") {
      return resolve_plain_scalar(value);
    }
    throw Refusal("the tag " + tag + " is not one that manifests have");
  }

  Tree at(const YAML::Mark& mark, Tree tree) {
    line_ = mark.line + 1;
    tree.line = line_;
    return tree;
  }

  // A copy of `tree` is made, `depth` levels deep: an alias can double the size with every line.
  void count(const Tree& tree, size_t depth) {
    if (depth > kDepthMax) refuse_depth();
    if (++nodes_ > kTreeNodesMax) refuse_size();
    for (const Tree& item : tree.items) count(item, depth + 1);
    for (const Tree::Member& member : tree.members) count(member.value, depth + 1);
  }
  [[noreturn]] static void refuse_depth() {
    throw Refusal("nested more than " + std::to_string(kDepthMax) + " deep");
  }
  [[noreturn]] static void refuse_size() {
    throw Refusal("more than " + std::to_string(kTreeNodesMax) + " values, aliases expanded");
  }

  void open(Tree tree, const std::string& tag, YAML::anchor_t anchor) {
    if (tag != "?" && tag != "!" && !tag.empty() && !tag.starts_with("tag:yaml.org,2002:")) {
      throw Refusal("the tag " + tag + " is not one that manifests have");
    }
    if (frames_.size() >= kDepthMax) refuse_depth();
    if (!frames_.empty() && frames_.back().tree.kind == Tree::Kind::kMap &&
        !frames_.back().has_key) {
      throw Refusal("a key must be a plain word or a string");
    }
    frames_.push_back({.tree = std::move(tree), .anchor = anchor, .key = {}, .merges = {}});
  }

  void close() {
    Frame done = std::move(frames_.back());
    frames_.pop_back();
    finish(std::move(done.tree), done.anchor, false);
  }

  // A value is complete: it becomes a key, a member, an item or the document.
  void finish(Tree tree, YAML::anchor_t anchor, bool plain) {
    if (++nodes_ > kTreeNodesMax) refuse_size();
    if (anchor != 0) {
      count(tree, 0);  // the copy
      anchors_[anchor] = tree;
    }
    if (frames_.empty()) {
      root_ = std::move(tree);
      return;
    }
    Frame& parent = frames_.back();
    if (parent.tree.kind == Tree::Kind::kList) {
      parent.tree.items.push_back(std::move(tree));
    } else if (!parent.has_key) {
      if (tree.kind == Tree::Kind::kList || tree.kind == Tree::Kind::kMap) {
        throw Refusal("a key must be a plain word or a string");
      }
      parent.key_is_merge = plain && tree.text == kMergeKey;
      parent.key = std::move(tree.text);
      parent.has_key = true;
    } else {
      parent.has_key = false;
      if (parent.key_is_merge) {
        parent.merges.push_back(std::move(tree));
      } else {
        parent.tree.add(std::move(parent.key), std::move(tree));
      }
    }
  }

  // Adds what "<<" brings and the map does not say itself; of several, the first one counts.
  void merge(Frame& frame) {
    if (frame.merges.empty()) return;
    std::set<std::string, std::less<>> present;
    for (const Tree::Member& member : frame.tree.members) present.insert(member.name);
    const auto add = [&](Tree& from) {
      if (from.kind != Tree::Kind::kMap) throw Refusal("<< takes a map or a list of maps");
      for (Tree::Member& member : from.members) {
        if (present.insert(member.name).second) frame.tree.members.push_back(std::move(member));
      }
    };
    for (Tree& from : frame.merges) {
      if (from.kind == Tree::Kind::kList) {
        for (Tree& item : from.items) add(item);
      } else {
        add(from);
      }
    }
  }

  Tree root_;
  std::vector<Frame> frames_;
  std::map<YAML::anchor_t, Tree> anchors_;
  size_t nodes_ = 0;  // of the whole file
  int line_ = 0;
};

Error error_at(int line, std::string_view what) {
  return {Code::kInvalid, "line " + std::to_string(line) + ": not YAML: " + std::string(what)};
}

}  // namespace

YamlDocuments parse_yaml(std::string_view text) {
  YamlDocuments result;
  if (text.size() > kTextBytesMax) {
    result.error.emplace_back(Code::kLimit,
                              "longer than " + std::to_string(kTextBytesMax) + " bytes");
    return result;
  }
  if (!simdjson::validate_utf8(text.data(), text.size()) ||
      text.find('\0') != std::string_view::npos) {
    result.error.emplace_back(Code::kInvalid, "not text in UTF-8");
    return result;
  }
  Builder builder;
  try {
    std::istringstream stream{std::string(text)};
    YAML::Parser parser(stream);
    while (parser.HandleNextDocument(builder)) {
      Tree document = builder.take();
      if (!document.is_null()) result.documents.push_back(std::move(document));
    }
  } catch (const Refusal& refusal) {
    result.error.push_back(error_at(builder.line(), refusal.what()));
  } catch (const YAML::ParserException& wrong) {
    result.error.push_back(error_at(wrong.mark.line + 1, wrong.msg));
  } catch (const std::exception& wrong) {
    result.error.push_back(error_at(builder.line(), wrong.what()));
  }
  return result;
}

}  // namespace weft::objects
