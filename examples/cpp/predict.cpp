// predict MODEL.onnx [ROW]: answer one row, an array in JSON, and check the golden rows.

#include <onnxruntime_cxx_api.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <iostream>
#include <limits>
#include <list>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <vector>

using Json = nlohmann::json;

// Stands for a missing text: U+FDD0, a noncharacter that no text contains.
const std::string kMissing = "\xEF\xB7\x90";

struct Answer {
  Json label;  // null for a regressor
  std::vector<double> scores;
};

// The arrays of a run: tensors of numbers read their memory.
struct Feeds {
  std::vector<std::string> names;
  std::vector<Ort::Value> values;
  std::list<std::vector<double>> doubles;
  std::list<std::vector<float>> floats;
  std::list<std::vector<int64_t>> integers;
};

class Model {
 public:
  Model(Ort::Env& env, const std::string& path) : session_(env, path.c_str(), options()) {
    const auto text = session_.GetModelMetadata().LookupCustomMetadataMapAllocated("unpickled.manifest", allocator_);
    if (!text) throw std::runtime_error("the file has no manifest: unpickled did not write it");
    manifest = Json::parse(text.get());
    if (manifest["schema"] != 1) throw std::runtime_error("the manifest has another schema than 1");
    for (const Json& feature : manifest["features"]) {
      if (feature.contains("notation") && feature["notation"].contains("date"))
        throw std::runtime_error("this example reads no dates: send seconds since 1970-01-01");
    }
  }

  // Answers to rows: arrays in the order of the features, null for a missing value.
  std::vector<Answer> predict(const Json& rows) {
    Feeds feeds = feeds_of(rows);
    std::vector<const char*> inputs, outputs;
    for (const std::string& name : feeds.names) inputs.push_back(name.c_str());
    const std::string label = manifest["outputs"].value("label", ""), scores = manifest["outputs"]["scores"];
    if (!label.empty()) outputs.push_back(label.c_str());
    outputs.push_back(scores.c_str());
    const std::vector<Ort::Value> values = session_.Run(Ort::RunOptions{nullptr}, inputs.data(), feeds.values.data(),
                                                        inputs.size(), outputs.data(), outputs.size());
    std::vector<Answer> answers;
    for (size_t row = 0; row < rows.size(); ++row) {
      answers.push_back({label.empty() ? Json() : label_of(values.front(), row), scores_of(values.back(), row)});
    }
    return answers;
  }

  // Whether an answer is the pipeline's to a golden row, by the tolerance that the export had.
  bool is_golden(const Answer& answer, size_t row) const {
    const Json& golden = manifest["golden"];
    if (golden.contains("labels") && answer.label != golden["labels"][row]) return false;
    for (size_t place = 0; place < answer.scores.size(); ++place) {
      const double expected = golden["scores"][row][place];
      const double allowed = manifest["parity"]["tolerance"].get<double>() * size_of(expected, place);
      if (!(std::abs(answer.scores[place] - expected) <= allowed)) return false;
    }
    return true;
  }

  // What people call the entries of the scores: classes or targets.
  const Json& names() const {
    return manifest["outputs"].contains("targets") ? manifest["outputs"]["targets"] : manifest["class_names"];
  }

  Json manifest;

 private:
  static Ort::SessionOptions options() {
    Ort::SessionOptions options;
    options.SetIntraOpNumThreads(1);
    // This one rounds a factor beside a product of matrices to float32.
    options.AddConfigEntry("optimization.disable_specified_optimizers", "MatMulScaleFusion");
    return options;
  }

  Feeds feeds_of(const Json& rows) {
    Feeds feeds;
    for (const Json& input : manifest["inputs"]) {
      const std::vector<int64_t> shape{static_cast<int64_t>(rows.size()),
                                       static_cast<int64_t>(input["features"].size())};
      feeds.names.push_back(input["name"]);
      if (input["dtype"] == "string") {
        feeds.values.push_back(texts(rows, input, shape));
      } else if (input["dtype"] == "float64") {
        feeds.values.push_back(numbers<double>(rows, input, shape, feeds.doubles));
      } else if (input["dtype"] == "float32") {
        feeds.values.push_back(numbers<float>(rows, input, shape, feeds.floats));
      } else {
        feeds.values.push_back(numbers<int64_t>(rows, input, shape, feeds.integers));
      }
    }
    return feeds;
  }

  template <typename Number>
  Ort::Value numbers(const Json& rows, const Json& input, const std::vector<int64_t>& shape,
                     std::list<std::vector<Number>>& kept) {
    std::vector<Number>& cells = kept.emplace_back();
    for_each_cell(rows, input, [&](const Json& cell) {
      const double number = cell.is_boolean() ? double(cell.get<bool>())
                            : cell.is_null()  ? std::numeric_limits<double>::quiet_NaN()
                                              : cell.get<double>();
      cells.push_back(static_cast<Number>(number));
    });
    return Ort::Value::CreateTensor<Number>(memory_, cells.data(), cells.size(), shape.data(), shape.size());
  }

  Ort::Value texts(const Json& rows, const Json& input, const std::vector<int64_t>& shape) {
    std::vector<std::string> cells;
    for_each_cell(rows, input,
                  [&](const Json& cell) { cells.push_back(cell.is_null() ? kMissing : std::string(cell)); });
    std::vector<const char*> pointers;
    for (const std::string& cell : cells) pointers.push_back(cell.c_str());
    Ort::Value tensor =
        Ort::Value::CreateTensor(allocator_, shape.data(), shape.size(), ONNX_TENSOR_ELEMENT_DATA_TYPE_STRING);
    tensor.FillStringTensor(pointers.data(), pointers.size());
    return tensor;
  }

  // The cells of an input row by row, its features in the order of the tensor's columns.
  template <typename Use>
  void for_each_cell(const Json& rows, const Json& input, Use use) {
    for (const Json& row : rows) {
      for (const std::string name : input["features"]) {
        const Json& features = manifest["features"];
        const auto found = std::find_if(features.begin(), features.end(),
                                        [&](const Json& feature) { return feature["name"] == name; });
        const Json& cell = row.at(found - features.begin());
        const bool optional = (*found)["missing"];
        if (cell.is_null() && !optional)
          throw std::runtime_error("feature " + name + " is missing, and the model cannot do without it");
        use(cell);
      }
    }
  }

  static Json label_of(const Ort::Value& labels, size_t row) {
    if (labels.GetTensorTypeAndShapeInfo().GetElementType() == ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64)
      return labels.GetTensorData<int64_t>()[row];
    std::string text(labels.GetStringTensorElementLength(row), '\0');
    labels.GetStringTensorElement(text.size(), row, text.data());
    return text;
  }

  static std::vector<double> scores_of(const Ort::Value& scores, size_t row) {
    const auto info = scores.GetTensorTypeAndShapeInfo();
    const size_t width = static_cast<size_t>(info.GetShape().back());
    if (info.GetElementType() == ONNX_TENSOR_ELEMENT_DATA_TYPE_DOUBLE) {
      const double* first = scores.GetTensorData<double>() + row * width;
      return {first, first + width};
    }
    const float* first = scores.GetTensorData<float>() + row * width;
    return {first, first + width};
  }

  // The size by which a difference from an expected score is measured.
  double size_of(double expected, size_t place) const {
    const Json& outputs = manifest["outputs"];
    if (!outputs.contains("targets")) return 1.0 + std::abs(expected);
    const double largest = std::max(1.0, std::abs(expected));
    if (!outputs.contains("spans")) return largest;
    const double center = outputs["spans"][place][0], width = outputs["spans"][place][1];
    return std::min(largest, std::max(width, std::abs(expected - center)));
  }

  Ort::Session session_;
  Ort::AllocatorWithDefaultOptions allocator_;
  Ort::MemoryInfo memory_ = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
};

int main(int count, char** words) try {
  if (count < 2) throw std::runtime_error("name a model.onnx, and a row as an array in JSON if you like");
  Ort::Env env(ORT_LOGGING_LEVEL_ERROR, "predict");
  Model model(env, words[1]);
  const Json& golden = model.manifest["golden"]["rows"];
  const Json row = count > 2 ? Json::parse(words[2]) : golden[0];
  const Answer answer = model.predict(Json::array({row}))[0];
  if (!answer.label.is_null()) {
    const Json& classes = model.manifest["classes"];
    const auto place = std::find(classes.begin(), classes.end(), answer.label) - classes.begin();
    std::cout << row << " is " << answer.label << ", " << model.manifest["class_names"][place].get<std::string>()
              << "\n";
  }
  std::cout.precision(17);
  for (size_t place = 0; place < answer.scores.size(); ++place)
    std::cout << "  " << model.names()[place].get<std::string>() << ": " << answer.scores[place] << "\n";
  size_t right = 0;
  const std::vector<Answer> answers = model.predict(golden);
  for (size_t index = 0; index < golden.size(); ++index) right += model.is_golden(answers[index], index);
  std::cout << right << " of " << golden.size() << " golden rows answered as by the pipeline\n";
  return right == golden.size() ? 0 : 1;
} catch (const std::exception& error) {
  std::cerr << "error: " << error.what() << "\n";
  return 1;
}
