// weft-crds: writes the CustomResourceDefinitions of a descriptor set into a folder, one file a
// kind. Run by the build, with the set that protoc makes of proto/crd (its comments become
// descriptions).

#include "agent/objects/crd/definition.h"
#include "proto/crd/rules.pb.h"

#include <google/protobuf/descriptor.pb.h>

#include <cstdio>
#include <fstream>

namespace weft::objects {
namespace {

int write_all(const std::string& set_file, const std::string& folder) {
  google::protobuf::FileDescriptorSet set;
  std::ifstream in(set_file, std::ios::binary);
  if (!set.ParseFromIstream(&in)) {
    std::fprintf(stderr, "weft-crds: %s: expected a descriptor set\n", set_file.c_str());
    return 1;
  }
  google::protobuf::DescriptorPool pool;
  for (const auto& proto : set.file()) {  // protoc --include_imports: what is imported comes first
    const auto* file = pool.BuildFile(proto);
    if (file == nullptr) return 1;  // protobuf has said why
    for (int i = 0; i < file->message_type_count(); ++i) {
      const auto& message = *file->message_type(i);
      if (!message.options().HasExtension(crd::kind)) continue;
      const auto& kind = message.options().GetExtension(crd::kind);
      const std::string path = folder + "/" + kind.plural() + "." + kind.group() + ".yaml";
      std::ofstream out(path);
      out << write_yaml(custom_resource_definition(message));
      if (!out.flush()) {
        std::fprintf(stderr, "weft-crds: %s: cannot be written\n", path.c_str());
        return 1;
      }
    }
  }
  return 0;
}

}  // namespace
}  // namespace weft::objects

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fputs("usage: weft-crds DESCRIPTOR_SET FOLDER\n", stderr);
    return 2;
  }
  return weft::objects::write_all(argv[1], argv[2]);
}
