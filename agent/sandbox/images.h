#pragma once

#include "agent/sandbox/environment.h"
#include "ztunnel/base/result.h"

#include <string>
#include <string_view>

namespace weft::sandbox {

// Images are not pulled: images.yaml says which local command an image name stands for.
//
//   images:
//     shop/users:1.0: [python3, -u, "{folder}/users.py"]
//
// {folder} is the folder in which the file is. `origin` is its path, for messages.
Result<Images> parse_images(std::string_view text, const std::string& origin);
std::string print_images(const Images& images);

// The images.yaml that belongs to a file or folder of manifests: in the folder, or in the one
// above it. Empty: there is none.
std::string find_images_file(const std::string& manifests);

constexpr const char* kImagesFileName = "images.yaml";

}  // namespace weft::sandbox
