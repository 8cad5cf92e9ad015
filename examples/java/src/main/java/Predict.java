import ai.onnxruntime.OnnxTensor;
import ai.onnxruntime.OrtEnvironment;
import ai.onnxruntime.OrtException;
import ai.onnxruntime.OrtSession;
import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import java.nio.DoubleBuffer;
import java.nio.FloatBuffer;
import java.nio.LongBuffer;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.ToDoubleFunction;

/** Predict MODEL.onnx [ROW]: answers one row, an array in JSON, and checks the golden rows. */
public final class Predict implements AutoCloseable {
    /** Stands for a missing text: a noncharacter that no text contains. */
    private static final String MISSING = "\ufdd0";

    private final OrtEnvironment environment = OrtEnvironment.getEnvironment();
    private final OrtSession session;
    private final JsonObject manifest;
    private final Map<String, Integer> places = new HashMap<>();

    /** The answer to a row; a regressor's has no label. */
    record Answer(Object label, double[] scores) {}

    Predict(String path) throws OrtException {
        OrtSession.SessionOptions options = new OrtSession.SessionOptions();
        options.setIntraOpNumThreads(1);
        // This one rounds a factor beside a product of matrices to float32.
        options.addConfigEntry("optimization.disable_specified_optimizers", "MatMulScaleFusion");
        session = environment.createSession(path, options);
        String text = session.getMetadata().getCustomMetadataValue("unpickled.manifest")
            .orElseThrow(() -> new IllegalArgumentException("the file has no manifest: unpickled did not write it"));
        manifest = JsonParser.parseString(text).getAsJsonObject();
        if (manifest.get("schema").getAsInt() != 1) {
            throw new IllegalArgumentException("the manifest has another schema than 1");
        }
        for (JsonElement feature : manifest.getAsJsonArray("features")) {
            JsonObject notation = feature.getAsJsonObject().getAsJsonObject("notation");
            if (notation != null && notation.has("date")) {
                throw new IllegalArgumentException("this example reads no dates: send seconds since 1970-01-01");
            }
            places.put(feature.getAsJsonObject().get("name").getAsString(), places.size());
        }
    }

    /** Answers to rows: arrays in the order of the features, null for a missing value. */
    List<Answer> predict(JsonArray rows) throws OrtException {
        JsonObject outputs = manifest.getAsJsonObject("outputs");
        String scores = outputs.get("scores").getAsString();
        String label = outputs.has("label") ? outputs.get("label").getAsString() : null;
        Map<String, OnnxTensor> tensors = tensors(rows);
        List<Answer> answers = new ArrayList<>();
        try (OrtSession.Result result = session.run(tensors, label == null ? Set.of(scores) : Set.of(label, scores))) {
            Object labels = label == null ? null : result.get(label).orElseThrow().getValue();
            Object numbers = result.get(scores).orElseThrow().getValue();
            for (int row = 0; row < rows.size(); row++) {
                answers.add(new Answer(labelOf(labels, row), scoresOf(numbers, row)));
            }
        } finally {
            tensors.values().forEach(OnnxTensor::close);
        }
        return answers;
    }

    private static Object labelOf(Object labels, int row) {
        if (labels instanceof long[] numbers) {
            return numbers[row];
        }
        return labels == null ? null : ((String[]) labels)[row];
    }

    private static double[] scoresOf(Object scores, int row) {
        if (scores instanceof double[][] doubles) {
            return doubles[row];
        }
        float[] floats = ((float[][]) scores)[row];
        double[] wide = new double[floats.length];
        for (int place = 0; place < wide.length; place++) {
            wide[place] = floats[place];
        }
        return wide;
    }

    /** One tensor (rows, features) for each input of the graph. */
    private Map<String, OnnxTensor> tensors(JsonArray rows) throws OrtException {
        Map<String, OnnxTensor> tensors = new LinkedHashMap<>();
        for (JsonElement each : manifest.getAsJsonArray("inputs")) {
            JsonObject input = each.getAsJsonObject();
            List<JsonElement> cells = cells(rows, input);
            long[] shape = {rows.size(), input.getAsJsonArray("features").size()};
            tensors.put(input.get("name").getAsString(), tensor(input.get("dtype").getAsString(), cells, shape));
        }
        return tensors;
    }

    private OnnxTensor tensor(String dtype, List<JsonElement> cells, long[] shape) throws OrtException {
        if (dtype.equals("string")) {
            String[] texts = cells.stream().map(cell -> cell.isJsonNull() ? MISSING : cell.getAsString())
                .toArray(String[]::new);
            return OnnxTensor.createTensor(environment, texts, shape);
        }
        double[] numbers = cells.stream().mapToDouble(NUMBER).toArray();
        if (dtype.equals("float64")) {
            return OnnxTensor.createTensor(environment, DoubleBuffer.wrap(numbers), shape);
        }
        if (dtype.equals("int64")) {
            LongBuffer longs = LongBuffer.allocate(numbers.length);
            for (double number : numbers) {
                longs.put((long) number);
            }
            return OnnxTensor.createTensor(environment, longs.flip(), shape);
        }
        FloatBuffer floats = FloatBuffer.allocate(numbers.length);
        for (double number : numbers) {
            floats.put((float) number);
        }
        return OnnxTensor.createTensor(environment, floats.flip(), shape);
    }

    private static final ToDoubleFunction<JsonElement> NUMBER = cell -> {
        if (cell.isJsonNull()) {
            return Double.NaN;
        }
        return cell.getAsJsonPrimitive().isBoolean() ? (cell.getAsBoolean() ? 1.0 : 0.0) : cell.getAsDouble();
    };

    /** The cells of an input row by row, its features in the order of the tensor's columns. */
    private List<JsonElement> cells(JsonArray rows, JsonObject input) {
        List<JsonElement> cells = new ArrayList<>();
        for (JsonElement row : rows) {
            for (JsonElement name : input.getAsJsonArray("features")) {
                int place = places.get(name.getAsString());
                JsonElement cell = row.getAsJsonArray().get(place);
                JsonObject feature = manifest.getAsJsonArray("features").get(place).getAsJsonObject();
                if (cell.isJsonNull() && !feature.get("missing").getAsBoolean()) {
                    throw new IllegalArgumentException(
                        "feature " + name.getAsString() + " is missing, and the model cannot do without it");
                }
                cells.add(cell);
            }
        }
        return cells;
    }

    /** Whether an answer is the pipeline's to a golden row, by the tolerance that the export had. */
    boolean isGolden(Answer answer, int row) {
        JsonObject golden = manifest.getAsJsonObject("golden");
        if (golden.has("labels") && !same(answer.label(), golden.getAsJsonArray("labels").get(row))) {
            return false;
        }
        JsonArray expected = golden.getAsJsonArray("scores").get(row).getAsJsonArray();
        double tolerance = manifest.getAsJsonObject("parity").get("tolerance").getAsDouble();
        for (int place = 0; place < expected.size(); place++) {
            double score = expected.get(place).getAsDouble();
            if (!(Math.abs(answer.scores()[place] - score) <= tolerance * size(score, place))) {
                return false;
            }
        }
        return true;
    }

    private static boolean same(Object label, JsonElement expected) {
        return label instanceof Long number ? number == expected.getAsLong() : expected.getAsString().equals(label);
    }

    /** The size by which a difference from an expected score is measured. */
    private double size(double expected, int place) {
        JsonObject outputs = manifest.getAsJsonObject("outputs");
        if (!outputs.has("targets")) {
            return 1.0 + Math.abs(expected);
        }
        double largest = Math.max(1.0, Math.abs(expected));
        if (!outputs.has("spans")) {
            return largest;
        }
        JsonArray span = outputs.getAsJsonArray("spans").get(place).getAsJsonArray();
        double center = span.get(0).getAsDouble();
        return Math.min(largest, Math.max(span.get(1).getAsDouble(), Math.abs(expected - center)));
    }

    /** The name that people give a label. */
    private String nameOf(Object label) {
        JsonArray classes = manifest.getAsJsonArray("classes");
        int place = 0;
        while (!same(label, classes.get(place))) {
            place++;
        }
        return manifest.getAsJsonArray("class_names").get(place).getAsString();
    }

    @Override
    public void close() throws OrtException {
        session.close();
    }

    /** Exit status 0 if every golden row is answered as by the pipeline. */
    public static void main(String[] words) throws OrtException {
        int right = 0;
        JsonArray golden;
        try (Predict model = new Predict(words[0])) {
            golden = model.manifest.getAsJsonObject("golden").getAsJsonArray("rows");
            JsonElement row = words.length > 1 ? JsonParser.parseString(words[1]) : golden.get(0);
            JsonArray one = new JsonArray();
            one.add(row);
            Answer answer = model.predict(one).get(0);
            if (answer.label() != null) {
                System.out.printf("%s is %s, %s%n", row, answer.label(), model.nameOf(answer.label()));
            }
            JsonObject outputs = model.manifest.getAsJsonObject("outputs");
            JsonArray names = outputs.has("targets") ? outputs.getAsJsonArray("targets")
                : model.manifest.getAsJsonArray("class_names");
            for (int place = 0; place < names.size(); place++) {
                System.out.printf("  %s: %s%n", names.get(place).getAsString(), answer.scores()[place]);
            }
            List<Answer> answers = model.predict(golden);
            for (int index = 0; index < golden.size(); index++) {
                right += model.isGolden(answers.get(index), index) ? 1 : 0;
            }
        }
        System.out.printf("%d of %d golden rows answered as by the pipeline%n", right, golden.size());
        System.exit(right == golden.size() ? 0 : 1);
    }
}
